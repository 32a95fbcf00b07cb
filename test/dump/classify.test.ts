import { describe, expect, test } from 'vitest'
import { classify, HANG_CLASSES } from '../../src/dump/classify.ts'
import type { HangFacts, Verdict } from '../../src/dump/facts.ts'
import {
  ATOMICS,
  FAKE_TIMERS,
  factsOf,
  frame,
  heldBy,
  IMPORT_CYCLE,
  LOCK,
  LOST,
  MICROTASKS,
  NATIVE,
  OWNER,
  REGEX,
  SERVER_CLOSE,
  SPIN,
  SYNC_CHILD,
  suspended,
  TOP_LEVEL_AWAIT,
} from './sample-facts.ts'

const line = (verdict: Verdict): string | undefined =>
  verdict.culprit && `${verdict.culprit.path}:${verdict.culprit.line}`

/** An idle test at one await. */
function waitingAt(
  source: string,
  held = [heldBy('Timeout', 'Timeout._onTimeout')],
  more: Partial<HangFacts> = {},
): Verdict {
  return classify(
    factsOf({ awaits: [suspended(1, frame('<anonymous>', 'test/a.test.ts:9:3', source), { heldBy: held })], ...more }),
  )
}

describe('the corpus', () => {
  const corpus: [HangFacts, string, string | undefined, string, string, string[]][] = [
    [SPIN(), 'event-loop-blocked', 'js', 'test/blocked-spin-flag.test.ts:13', 'certain', ['while']],
    [ATOMICS(), 'event-loop-blocked', 'atomics', 'test/blocked-atomics-wait.test.ts:18', 'certain', ['Atomics.wait']],
    [
      MICROTASKS(),
      'event-loop-blocked',
      'microtasks',
      'test/blocked-microtask-starvation.test.ts:9',
      'certain',
      ['await'],
    ],
    [REGEX(), 'event-loop-blocked', 'js', 'test/blocked-regex-backtracking.test.ts:8', 'certain', ['SLUGS.test']],
    [
      SYNC_CHILD(),
      'event-loop-blocked',
      'syscall',
      'test/blocked-execsync-self-server.test.ts:19',
      'certain',
      ['execFileSync', '4912'],
    ],
    [
      SERVER_CLOSE(),
      'await-never-settles-with-live-resource',
      undefined,
      'test/await-server-close-open-socket.test.ts:13',
      'likely',
      ['close', 'socket', 'Server._events.close'],
    ],
    [LOST(), 'lost-promise', undefined, 'test/lost-missed-event.test.ts:17', 'certain', ['once', 'ready']],
    [
      FAKE_TIMERS(),
      'fake-timers',
      undefined,
      'test/fake-timers-await-sleep.test.ts:13',
      'certain',
      ['useFakeTimers', 'setTimeout'],
    ],
    [
      TOP_LEVEL_AWAIT(),
      'module-loading-deadlock',
      undefined,
      'test/module-toplevel-await.test.ts:10',
      'certain',
      ['config'],
    ],
    [
      IMPORT_CYCLE(),
      'module-loading-deadlock',
      undefined,
      'test/module-import-cycle.test.ts:14',
      'certain',
      ['import', 'app.mjs'],
    ],
  ]
  test.each(corpus)(
    '$file.path is named with class, line and words',
    (facts, name, variant, culprit, confidence, words) => {
      const verdict = classify(facts)
      expect(verdict).toMatchObject({ class: name, confidence })
      expect(verdict.variant).toBe(variant)
      expect(line(verdict)).toBe(culprit)
      for (const word of words) expect(verdict.diagnosis).toContain(word)
      expect(verdict.stack[0]?.site).toEqual(verdict.culprit)
      expect(verdict.diagnosis.endsWith('.')).toBe(true)
      expect(verdict.diagnosis).not.toMatch(/undefined|null\b(?!`)|\n/)
    },
  )
})

describe('a blocked event loop', () => {
  test('is likely, not certain, while nothing tells that the second look saw the same', () => {
    const facts = SPIN()
    expect(classify({ ...facts, sync: { ...facts.sync!, second: [], microtasks: 'unknown' } }).confidence).toBe(
      'likely',
    )
  })

  test('names the innermost user frame when the thread was caught inside a package', () => {
    const facts = SPIN()
    const inner = frame('deep', 'node_modules/left-pad/index.js:4:2')
    const verdict = classify({ ...facts, sync: { ...facts.sync!, frames: [inner, ...facts.sync!.frames] } })
    expect(line(verdict)).toBe('test/blocked-spin-flag.test.ts:13')
    expect(verdict.evidence[0]).toContain('deep() at node_modules/left-pad/index.js:4:2')
  })

  test('takes the second look when the first one met no user frame', () => {
    const facts = MICROTASKS()
    const verdict = classify({ ...facts, sync: { ...facts.sync!, frames: [frame('tick', 'node:internal/x:1:1')] } })
    expect(line(verdict)).toBe('test/blocked-microtask-starvation.test.ts:18')
    expect(verdict.stack[0]?.site.line).toBe(18)
  })

  test('names Atomics.wait by its breadcrumb alone, when no stack could be taken', () => {
    const verdict = classify({ ...ATOMICS(), sync: null })
    expect(verdict).toMatchObject({ variant: 'atomics', culprit: { line: 18 } })
  })

  test('in native code says what the kernel says, without a line', () => {
    const verdict = classify(NATIVE())
    expect(verdict).toMatchObject({ class: 'event-loop-blocked', variant: 'native', confidence: 'likely' })
    expect(verdict.culprit).toBeUndefined()
    expect(verdict.diagnosis).toContain('x.db is locked')
  })

  test('is a guess when there is no stack, no breadcrumb and no word of the kernel', () => {
    const verdict = classify({ ...NATIVE(), kernel: [] })
    expect(verdict.confidence).toBe('guess')
    expect(verdict.alsoConsidered).not.toHaveLength(0)
  })

  test('goes before everything else, also in collection', () => {
    expect(classify({ ...SPIN(), phase: 'collect', test: null }).class).toBe('event-loop-blocked')
  })

  test('survives a stack without any frame of the user', () => {
    const only = [frame('x', 'node:internal/a:1:1')]
    const verdict = classify(
      factsOf({ loop: 'blocked', awaits: null, sync: { frames: only, second: only, microtasks: 'still' } }),
    )
    expect(verdict.culprit).toBeUndefined()
    expect(verdict.diagnosis).toContain('test "stock > reserves stock" keeps the thread busy')
  })
})

describe('a lost promise', () => {
  test('is likely by absence alone, and asks for the run with promises traced', () => {
    const verdict = classify({ ...LOST(), lost: null })
    expect(verdict).toMatchObject({ class: 'lost-promise', confidence: 'likely' })
    expect(verdict.culprit).toBeUndefined()
    expect(verdict.hint).toContain('promises traced')
    expect(verdict.evidence.join()).toContain('no suspended function of it is left')
  })

  test('is a guess for a body that is not an async function, whose absence proves nothing', () => {
    const verdict = classify({ ...LOST(), lost: null, body: 'plain' })
    expect(verdict.confidence).toBe('guess')
    expect(verdict.alsoConsidered).toContain('await-never-settles-with-live-resource')
  })

  test('is where a function that is not async made what it returned, when that was collected in the traced run', () => {
    const [made] = LOST().lost!.awaited
    const lost = { proven: false, created: [made!], awaited: [] }
    const verdict = classify({ ...LOST(), lost, body: 'plain' })
    expect(verdict).toMatchObject({ class: 'lost-promise', confidence: 'likely', culprit: made!.site })
    expect(verdict.diagnosis).toContain('returned a promise that nothing can settle any more')
  })

  test('is a guess when the traced run lost none', () => {
    const verdict = classify({
      ...LOST(),
      lost: { proven: false, created: [], awaited: [], note: 'the second run passed' },
    })
    expect(verdict.confidence).toBe('guess')
    expect(verdict.evidence).toContain('the second run passed')
  })

  test('names the line that made the promise as the holder, with what it was to settle', () => {
    const facts = factsOf({
      lost: {
        proven: true,
        awaited: [frame('<anonymous>', 'test/a.test.ts:14:18', 'const reason = await whenAborted(controller.signal)')],
        created: [
          frame('whenAborted', 'test/a.test.ts:6:10', 'return new Promise((resolve) => {', {
            next: "signal.addEventListener('abort', () => resolve(signal.reason), { once: true })",
          }),
        ],
      },
    })
    const verdict = classify(facts)
    expect(verdict).toMatchObject({ confidence: 'certain', culprit: { line: 14 }, holder: { line: 6 } })
    expect(verdict.diagnosis).toContain("signal.addEventListener('abort'")
  })

  test('in a hook names the hook', () => {
    const awaited = [frame('<anonymous>', 'test/a.test.ts:15:8', 'id = await connected.promise')]
    const verdict = classify(
      factsOf({ phase: 'hook', hook: 'beforeAll', lost: { proven: true, created: [], awaited } }),
    )
    expect(verdict.diagnosis).toMatch(/^the beforeAll hook .*`await connected\.promise`/)
  })

  test('is guessed for an await that is alive and held by nothing that runs by itself', () => {
    const verdict = waitingAt('id = await connected.promise', [])
    expect(verdict).toMatchObject({ class: 'lost-promise', confidence: 'guess', culprit: { line: 9 } })
    expect(verdict.alsoConsidered).toEqual(['await-never-settles-with-live-resource'])
  })

  test('is guessed for a resolver that lies in a variable, which the sentence names', () => {
    const held = heldBy('variable', 'variable connected.resolve')
    const verdict = waitingAt('id = await connected.promise', [held], { phase: 'hook', hook: 'beforeAll' })
    expect(verdict).toMatchObject({ class: 'lost-promise', confidence: 'guess', culprit: { line: 9 } })
    expect(verdict.diagnosis).toContain('only the variable connected.resolve could settle it')
  })

  test('is not claimed for a resolver that waits in a list', () => {
    const verdict = waitingAt('await turn', [heldBy('variable', 'variable queue[0]')])
    expect(verdict).toMatchObject({ class: 'await-never-settles-with-live-resource', confidence: 'guess' })
    expect(verdict.alsoConsidered).toEqual(['lock-or-semaphore-deadlock'])
  })

  test('is not claimed while a request of the system is open that no snapshot shows', () => {
    const verdict = waitingAt("await readFile('fifo')", [], { resources: { FSReqPromise: 1 } })
    expect(verdict).toMatchObject({ class: 'await-never-settles-with-live-resource', confidence: 'guess' })
    expect(verdict.diagnosis).toContain('FSReqPromise')
  })

  test('is not claimed without a look at the heap', () => {
    expect(classify(factsOf({ awaits: null })).class).toBe('unknown')
  })

  test('is not claimed from functions of other tests', () => {
    const other = suspended(1, frame('x', 'test/a.test.ts:3:1', 'await y'), { owner: 'harrow:test:2' })
    expect(classify(factsOf({ awaits: [other] }))).toMatchObject({ class: 'lost-promise', confidence: 'likely' })
  })
})

describe('fake timers', () => {
  test('are likely when one is pending and nothing else holds the await', () => {
    const facts = FAKE_TIMERS()
    const awaits = facts.awaits!.map((one) => ({ ...one, heldBy: [] }))
    expect(classify({ ...facts, awaits })).toMatchObject({
      class: 'fake-timers',
      confidence: 'likely',
      holder: { line: 19 },
    })
  })

  test('are not blamed for an await that a live resource holds', () => {
    const facts = FAKE_TIMERS()
    const awaits = facts.awaits!.map((one) => ({ ...one, heldBy: [heldBy('Server', 'Server._events.close')] }))
    expect(classify({ ...facts, awaits }).class).toBe('await-never-settles-with-live-resource')
  })

  test('are not blamed when none is pending', () => {
    const facts = FAKE_TIMERS()
    const awaits = facts.awaits!.map((one) => ({ ...one, heldBy: [] }))
    expect(classify({ ...facts, awaits, fakeTimers: { ...facts.fakeTimers!, pending: 0 } }).class).not.toBe(
      'fake-timers',
    )
  })
})

describe('loading of modules', () => {
  test('names the top-level await by the suspended module, before any label is known', () => {
    const awaits = [
      suspended(1, frame('<anonymous>', 'test/a.test.ts:10:18', 'const c = await ready'), { owner: null }),
    ]
    const verdict = classify(factsOf({ test: null, phase: 'collect', owner: null, awaits }))
    expect(verdict).toMatchObject({ class: 'module-loading-deadlock', confidence: 'likely', culprit: { line: 10 } })
  })

  test('is a guess when no module of the user is suspended', () => {
    const verdict = classify(factsOf({ test: null, phase: 'collect', owner: 'harrow:collect:x' }))
    expect(verdict).toMatchObject({ class: 'module-loading-deadlock', confidence: 'guess' })
    expect(verdict.culprit).toBeUndefined()
  })

  test('names the await inside an imported module, and its import as the holder', () => {
    const verdict = classify(
      factsOf({
        awaits: [
          suspended(1, frame('<anonymous>', 'test/a.test.ts:5:3', "const lib = await import('../src/lib.ts')")),
          suspended(2, frame('<anonymous>', 'src/lib.ts:8:1', 'await connected'), { awaitedBy: [1] }),
        ],
      }),
    )
    expect(verdict).toMatchObject({
      class: 'module-loading-deadlock',
      culprit: { path: 'src/lib.ts' },
      holder: { line: 5 },
    })
  })

  test('does not take a function called after an import for a module', () => {
    const verdict = classify(
      factsOf({
        awaits: [
          suspended(1, frame('<anonymous>', 'test/a.test.ts:5:3', "await import('./x').then((x) => x.run())")),
          suspended(2, frame('run', 'src/x.ts:8:1', 'await sleep()'), {
            awaitedBy: [1],
            heldBy: [heldBy('Timeout', 'Timeout')],
          }),
        ],
      }),
    )
    expect(verdict.class).toBe('await-never-settles-with-live-resource')
  })
})

describe('an await with a holder', () => {
  test.each([
    [
      "const [type] = await once(watcher, 'change')",
      heldBy('FSWatcher', 'FSWatcher._events.change'),
      'watcher is open',
    ],
    ['await until(() => done)', heldBy('Timeout', 'Timeout._onTimeout.resolve'), 'timer'],
    ['await reply', heldBy('Worker', 'Worker._events.message'), 'sent nothing'],
    ['const res = await fetch(url)', heldBy('Foo', 'Foo.bar'), 'no response'],
    ['await once(child)', heldBy('ChildProcess', 'ChildProcess._events.exit'), 'child process'],
    ['await once(bus)', heldBy('Bus', 'Bus._events.ready', { event: 'ready' }), "'ready'"],
    ['await data', heldBy('Socket', 'Socket._events.data'), 'peer'],
  ])('%s is likely', (source, held, words) => {
    const verdict = waitingAt(source, [held])
    expect(verdict).toMatchObject({ class: 'await-never-settles-with-live-resource', confidence: 'likely' })
    expect(verdict.diagnosis).toContain(words)
    expect(verdict.diagnosis).toContain(held.path)
  })

  test('leaves the class of locks open: a guess that names it', () => {
    const verdict = classify(LOCK())
    expect(verdict).toMatchObject({
      class: 'await-never-settles-with-live-resource',
      confidence: 'guess',
      culprit: { line: 10 },
    })
    expect(verdict.alsoConsidered).toEqual(['lock-or-semaphore-deadlock'])
    expect(verdict.diagnosis).toContain('`await to.lock()`')
    expect(verdict.stack.map((one) => one.site.line)).toEqual([10, 28, 38])
    expect(verdict.evidence.join()).toContain('also waiting')
  })

  test.each([
    ['PassThrough', 'PassThrough._events.finish', 'pipe-or-backpressure-deadlock'],
    ['Sink', 'Sink._events.drain', 'pipe-or-backpressure-deadlock'],
    ['Pool', 'Pool.waiters[0]', 'lock-or-semaphore-deadlock'],
  ])('guesses for %s and considers %s', (owner, path, considered) => {
    const verdict = waitingAt('await x', [heldBy(owner, path)])
    expect(verdict.confidence).toBe('guess')
    expect(verdict.alsoConsidered).toContain(considered)
  })

  test('quotes the awaited call only, and says which function of a package lies below', () => {
    const awaits = [
      suspended(1, frame('<anonymous>', 'test/a.test.ts:9:10', 'expect(await pump(sink, 10)).toBe(10)')),
      suspended(2, frame('pump', 'node_modules/pump/index.js:3:1'), {
        awaitedBy: [1],
        heldBy: [heldBy('Timeout', 'Timeout')],
      }),
    ]
    const verdict = classify(factsOf({ awaits }))
    expect(verdict.diagnosis).toContain('`await pump(sink, 10)` (test/a.test.ts:9:10)')
    expect(verdict).toMatchObject({ confidence: 'likely', culprit: { line: 9 } })
  })

  test('prefers the leaf whose line is known, then the one that is held', () => {
    const awaits = [
      suspended(1, frame('a', 'test/a.test.ts:1:1'), { exact: false, heldBy: [heldBy('Server', 'Server')] }),
      suspended(2, frame('b', 'test/a.test.ts:2:1', 'await b')),
      suspended(3, frame('c', 'test/a.test.ts:3:1', 'await c'), { heldBy: [heldBy('Server', 'Server')] }),
    ]
    const verdict = classify(factsOf({ awaits }))
    expect(verdict.culprit?.line).toBe(3)
    expect(verdict.evidence.join()).toContain('`await b` (test/a.test.ts:2:1)')
  })
})

describe('the machinery', () => {
  test('awaits in a circle end in a verdict', () => {
    const awaits = [
      suspended(1, frame('a', 'test/a.test.ts:1:1', 'await b'), { awaitedBy: [2, 1] }),
      suspended(2, frame('b', 'test/a.test.ts:2:1', 'await a'), { awaitedBy: [1] }),
    ]
    expect(classify(factsOf({ awaits })).culprit?.line).toBe(1)
  })

  test('every phase gets an honest sentence when nothing fits', () => {
    for (const phase of ['start', 'collect', 'hook', 'test', 'teardown', 'after-tests'] as const) {
      const verdict = classify(factsOf({ phase, test: null, awaits: null, owner: null }))
      expect(verdict.confidence).toBe('guess')
      expect(verdict.diagnosis).not.toMatch(/undefined|null/)
    }
  })

  test('a guess lists each alternative once and never its own class', () => {
    const { alsoConsidered } = waitingAt('await x', [])
    expect(new Set(alsoConsidered).size).toBe(alsoConsidered?.length)
    expect(alsoConsidered).not.toContain('lost-promise')
  })

  test('an owner without a label does not count as nobody', () => {
    const awaits = [
      suspended(1, frame('a', 'test/a.test.ts:4:1', 'await x'), { owner: null, heldBy: [heldBy('Server', 'Server')] }),
    ]
    expect(classify(factsOf({ phase: 'teardown', owner: null, awaits })).culprit?.line).toBe(4)
    expect(OWNER).not.toBe('')
  })

  test('has a page for every class', async () => {
    const { existsSync } = await import('node:fs')
    for (const { name } of HANG_CLASSES) {
      expect(existsSync(new URL(`../../docs/hangs/${name}.md`, import.meta.url)), name).toBe(true)
    }
  })
})

describe('a heap without a snapshot', () => {
  const unknown = { holders: 'unknown' as const, lost: null }

  test('does not make an await lost whose holder nobody looked for', () => {
    const verdict = waitingAt('await gate.pass()', [], unknown)
    expect(verdict).toMatchObject({ class: 'await-never-settles-with-live-resource', confidence: 'guess' })
    expect(line(verdict)).toBe('test/a.test.ts:9')
    expect(verdict.diagnosis).toContain('the heap is too large for a snapshot')
  })

  test('with one, the same await is held by nobody', () => {
    expect(waitingAt('await gate.pass()', []).class).toBe('lost-promise')
  })
})

describe('shapes that variants of the corpus have', () => {
  const emitter = (owner: string, event: string) => [heldBy(owner, `${owner}._events.${event}`, { event, id: 7 })]
  const QUIET = { resources: { PipeWrap: 3 } }

  test('an emitter of the program’s own is lost when nothing is open that could run the code which emits', () => {
    const verdict = waitingAt("await once(bus, 'built')", emitter('Bus', 'built'), QUIET)
    expect(verdict.class).toBe('lost-promise')
    expect(verdict.diagnosis).toContain('Bus._events.built')
  })

  test('it is not when a timer or server is open, or when the emitter is one of Node’s', () => {
    const open = { resources: { PipeWrap: 3, Timeout: 1 } }
    expect(waitingAt("await once(bus, 'built')", emitter('Bus', 'built'), open).class).not.toBe('lost-promise')
    for (const owner of ['Server', 'ClientRequest', 'FSWatcher', 'Worker', 'ReadStream']) {
      expect(waitingAt("await once(x, 'close')", emitter(owner, 'close'), QUIET).class, owner).not.toBe('lost-promise')
    }
  })

  test('a signal that nobody drives is lost, one with a time limit is not', () => {
    const signal = (driven: boolean): Partial<HangFacts> => ({
      ...QUIET,
      waitedFor: {
        objects: [{ id: 7, name: 'AbortSignal', asyncIds: [], signal: { aborted: true, driven } }],
        children: [],
        sockets: [],
        signals: [],
        fetches: [],
      },
    })
    const held = emitter('AbortSignal', 'abort')
    expect(waitingAt("await once(signal, 'abort')", held, signal(false)).class).toBe('lost-promise')
    expect(waitingAt("await once(signal, 'abort')", held, signal(true)).class).not.toBe('lost-promise')
  })

  test('a timer of another clock than the runner’s is a fake timer, with the line that installed it', () => {
    const held = [heldBy('Timeout', 'Timeout.callback', { fakeClock: true })]
    const clocks = [
      frame('<anonymous>', 'test/a.test.ts:4:3', "mock.timers.enable({ apis: ['setTimeout'] })"),
      frame('<anonymous>', 'test/a.test.ts:30:3', 'mock.timers.enable()'),
    ]
    const verdict = waitingAt('await save()', held, { clocks })
    expect(verdict).toMatchObject({ class: 'fake-timers', variant: 'other-clock', holder: { line: 4 } })
    expect(verdict.diagnosis).toContain('setTimeout')
    expect(waitingAt('await save()', [heldBy('Timeout', 'Timeout._onTimeout')], { clocks }).class).not.toBe(
      'fake-timers',
    )
  })

  test('in a recursion the line of the call to itself is named, in other stacks the innermost one', () => {
    const self = frame('paths', 'test/a.test.ts:9:10', 'return paths(w - 1, h) + paths(w, h - 1)')
    const top = frame('paths', 'test/a.test.ts:8:7', 'if (w === 0) return 1')
    const blocked = (frames: (typeof self)[]): Verdict =>
      classify(
        factsOf({ loop: 'blocked', awaits: null, sync: { frames, second: frames.slice(1), microtasks: 'still' } }),
      )
    expect(line(blocked([top, self, self, self, self]))).toBe('test/a.test.ts:9')
    expect(line(blocked([top, self]))).toBe('test/a.test.ts:8')
  })

  test('ticks that feed themselves are blamed on the line that asks for the next one', () => {
    const found = frame('flush', 'test/a.test.ts:8:7', 'if (queue.length === 0) return')
    const turn = frame('flush', 'test/a.test.ts:11:3', 'process.nextTick(flush)')
    const sync = { frames: [found], second: [found], microtasks: 'turning' as const }
    expect(line(classify(factsOf({ loop: 'blocked', awaits: null, sync: { ...sync, turn } })))).toBe(
      'test/a.test.ts:11',
    )
    expect(line(classify(factsOf({ loop: 'blocked', awaits: null, sync })))).toBe('test/a.test.ts:8')
  })

  test('an import that was begun on another line is seen by what loads below the await', () => {
    const below = suspended(2, frame('run', 'node:internal/modules/esm/module_job:561:3'), { awaitedBy: [1] })
    const leaf = suspended(1, frame('<anonymous>', 'test/a.test.ts:22:15', 'const mod = await loading'))
    expect(classify(factsOf({ awaits: [leaf, below] })).class).toBe('module-loading-deadlock')
    expect(classify(factsOf({ awaits: [leaf] })).class).not.toBe('module-loading-deadlock')
  })
})
