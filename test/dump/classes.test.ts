/** Every hang class has facts that it claims, near ones that it leaves to another, a page, and a file that really hangs. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { classify, HANG_CLASSES } from '../../src/dump/classify.ts'
import type { HangFacts } from '../../src/dump/facts.ts'
import type { ActorFact, TaskFact } from '../../src/inspect/actors.ts'
import * as samples from './sample-facts.ts'
import { child, kernel, readable, stream, waitingFor, waitingForChild, writable } from './waits.ts'

const { factsOf, frame, heldBy, suspended } = samples
const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

function task(name: string, state: TaskFact['state'], wait: TaskFact['wait']): TaskFact {
  return { id: name, kind: 'task', name, state, wait, created: null, children: [] }
}
function actor(name: string, tasks: TaskFact[], changes: Partial<ActorFact> = {}): ActorFact {
  const path = name === 'root' ? 'root' : `root/${name}`
  return { name, path, backend: 'spawn', pid: 7, answered: true, cancelled: false, tasks, children: [], ...changes }
}
const call = (by: string, on: string): TaskFact['wait'] => ({ reason: 'call reply', by, on, sinceMs: 900 })
const awaiting = [suspended(1, frame('<anonymous>', 'test/a.test.ts:9:3', "await a.call('ask')"))]
const ring = (back: string): HangFacts =>
  factsOf({
    awaits: awaiting,
    actors: actor('root', [task('body', 'parked', call('a', 'ask'))], {
      children: [actor('a', [task('ask', 'parked', call(back, 'give'))]), actor('b', [])],
    }),
  })
const ending = (cancelled: boolean): HangFacts =>
  factsOf({
    awaits: awaiting,
    actors: actor('root', [], { children: [actor('a', [task('work', 'cancelling', null)], { cancelled })] }),
  })

const stdin = { part: 'stdin' as const, stream: stream('Socket', { writable: writable() }) }
const reading = { pid: 4912, command: 'sort', part: 'stdin' as const, does: 'read' as const }
const passThrough = (length: number) =>
  stream('PassThrough', {
    transform: true,
    readable: readable({ length }),
    writable: writable({ length, needDrain: length > 0 }),
  })
const sent = { signals: [{ pid: 4912, signal: 'SIGTERM', at: Date.parse(factsOf().at), frames: [] }] }
const deaf = child({ killed: true, kernel: kernel({ ignored: ['SIGTERM'] }) })
const lockWait = frame('lock', 'test/a.test.ts:10:20', 'await new Promise((go) => this.waiting.push(go))')
const locked = factsOf({
  lost: { proven: true, created: [], awaited: [lockWait] },
  locks: {
    waits: [
      {
        lock: 'Lock',
        style: 'queue',
        method: 'lock',
        inner: [lockWait],
        call: frame('move', 'test/a.test.ts:28:3', 'await to.lock()'),
        outer: [],
        holders: [{ taken: frame('move', 'test/a.test.ts:26:3', 'await from.lock()'), missing: 1, by: 'waits' }],
      },
    ],
    others: [],
  },
})
const stopping = (ref: boolean): HangFacts =>
  factsOf({
    phase: 'after-tests',
    test: null,
    awaits: [],
    handles: [
      { id: 1, kind: 'Interval', what: '', ref, ageMs: 9, created: [frame('beat', 'src/a.ts:9:3', 'setInterval(f)')] },
    ],
  })
const real = suspended(1, frame('<anonymous>', 'test/a.test.ts:9:3', 'await sleep(100)'), {
  heldBy: [heldBy('Timeout', 'Timeout._onTimeout')],
})

/** For each class facts that are its own, and facts that look alike and are not. */
const TABLE: Record<string, { positive: HangFacts; negative: HangFacts }> = {
  'event-loop-blocked': { positive: samples.SPIN(), negative: { ...samples.SPIN(), loop: 'idle' } },
  'actor-wait-cycle': { positive: ring('root'), negative: ring('b') },
  'actor-not-stopping': { positive: ending(true), negative: ending(false) },
  'fake-timers': {
    positive: samples.FAKE_TIMERS(),
    negative: { ...samples.FAKE_TIMERS(), fakeTimers: { on: false, pending: 0, installed: [] }, awaits: [real] },
  },
  'module-loading-deadlock': {
    positive: samples.IMPORT_CYCLE(),
    negative: factsOf({ awaits: [suspended(1, frame('x', 'test/a.test.ts:9:3', 'await imported.run()'))] }),
  },
  'signal-not-delivered': {
    positive: waitingForChild(deaf, 'exit', sent),
    negative: waitingForChild(child({ kernel: kernel({ ignored: ['SIGTERM'] }) })),
  },
  'pipe-or-backpressure-deadlock': {
    positive: waitingFor({ name: 'PassThrough', stream: passThrough(65536) }, 'drain'),
    negative: waitingFor({ name: 'Socket', stream: stream('Socket', { readable: readable() }) }, 'data'),
  },
  'child-process-stuck': {
    positive: waitingForChild(child({ stdio: [stdin], users: [reading] })),
    negative: waitingFor({ name: 'Bus' }, 'exit'),
  },
  'lock-or-semaphore-deadlock': {
    positive: locked,
    negative: factsOf({ lost: { proven: true, created: [], awaited: [lockWait] } }),
  },
  'leaked-handle-after-tests': { positive: stopping(true), negative: stopping(false) },
  'lost-promise': { positive: samples.LOST(), negative: { ...samples.LOST(), lost: null, awaits: [real] } },
  'await-never-settles-with-live-resource': {
    positive: samples.SERVER_CLOSE(),
    negative: { ...samples.SERVER_CLOSE(), awaits: null },
  },
  unknown: { positive: factsOf({ awaits: null }), negative: samples.SERVER_CLOSE() },
}
/** No file of the corpus can have these: they need actors, or are what is left over. */
const WITHOUT_FILE = ['actor-wait-cycle', 'actor-not-stopping', 'unknown']
const names = HANG_CLASSES.map(({ name }) => name)

test('every class is in the table, and no other', () => {
  expect(Object.keys(TABLE).sort()).toEqual([...names].sort())
})

describe.each(names)('%s', (name) => {
  const { positive, negative } = TABLE[name]!

  test('claims what is its own, with a sentence and a culprit or a reason for none', () => {
    const verdict = classify(positive)
    expect(verdict.class).toBe(name)
    expect(verdict.diagnosis).toMatch(/\.$/)
    expect(verdict.evidence.every((one) => one !== '')).toBe(true)
    if (name !== 'unknown') expect(verdict.culprit ?? verdict.holder).toBeDefined()
  })

  test('leaves what looks alike to another', () => {
    const verdict = classify(negative)
    expect(verdict.class).not.toBe(name)
    expect(names).toContain(verdict.class)
  })

  test('has a page with what it is, how it looks, how it is known, what it is not, and how to mend it', () => {
    const page = read(`docs/hangs/${name}.md`)
    expect(page.startsWith(`# ${name}\n`)).toBe(true)
    const heads = [...page.matchAll(/^## (.*)$/gm)].map(([, head]) => head)
    const wanted = ['How it looks', 'How harrow knows', 'What is not this', 'How to fix it']
    expect(heads.filter((head) => wanted.includes(head!))).toEqual(wanted)
    expect(read('docs/hangs/README.md')).toContain(`(${name}.md)`)
  })

  test.skipIf(WITHOUT_FILE.includes(name))('has a file in the corpus that hangs so', () => {
    const folder = new URL('test/hangs/corpus/', root)
    const files = readdirSync(folder).filter((file) => file.endsWith('.test.ts'))
    expect(files.some((file) => read(`test/hangs/corpus/${file}`).includes(`"class":"${name}"`))).toBe(true)
  })
})

test('the index of the pages has all of them and leads nowhere else', () => {
  const linked = [...read('docs/hangs/README.md').matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, page]) => page)
  for (const page of linked) expect(existsSync(new URL(`docs/hangs/${page}`, root))).toBe(true)
  const pages = readdirSync(new URL('docs/hangs/', root)).filter((page) => page !== 'README.md')
  expect([...new Set(linked)].sort()).toEqual(pages.sort())
})
