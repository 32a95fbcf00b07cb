import { describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts } from '../../src/dump/facts.ts'
import { renderDump } from '../../src/dump/render.ts'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import type { PipeUser, StdioPart } from '../../src/inspect/wait-facts.ts'
import { frame } from './sample-facts.ts'
import { child, kernel, readable, stream, waited, waitingFor, waitingForChild, writable } from './waits.ts'

const uses = (does: PipeUser['does'], part: StdioPart, pid = 4912, command = 'node filter.js'): PipeUser => ({
  pid,
  command,
  part,
  does,
})
const stdin = { part: 'stdin', stream: stream('Socket', { writable: writable() }) } as const
const unread = (part: 'stdout' | 'stderr') =>
  ({ part, stream: stream('Socket', { readable: readable({ length: 65536 }) }) }) as const
const read = (part: 'stdout' | 'stderr') =>
  ({ part, stream: stream('Socket', { readable: readable({ flowing: true, readers: 1 }) }) }) as const
const sent = (signal: string, pid = 4912) => ({
  pid,
  signal,
  at: 0,
  frames: [frame('<anonymous>', 'test/a.test.ts:8:3', `child.kill('${signal}')`)],
})

function expectVerdict(facts: HangFacts, name: string, variant: string, ...words: string[]): void {
  const verdict = classify(facts)
  expect(`${verdict.class} ${verdict.variant}: ${verdict.diagnosis}`).toContain(`${name} ${variant}: `)
  expect(verdict.culprit).toMatchObject({ path: 'test/a.test.ts', line: 9 })
  for (const word of words) expect(verdict.diagnosis).toContain(word)
}

describe('a wait for a child process', () => {
  test('is blamed on stdin when the child reads it and nobody ended it', () => {
    const facts = waitingForChild(child({ stdio: [stdin, read('stdout')], users: [uses('read', 'stdin')] }))
    expectVerdict(facts, 'child-process-stuck', 'stdin-open', 'stdin', 'exit', '4912', 'started at test/a.test.ts:7')
    expect(classify(facts)).toMatchObject({ confidence: 'certain', holder: { line: 7 } })
  })

  test('names the descendant that reads the open stdin', () => {
    const users = [uses('read', 'stdin', 5000, 'cat')]
    expectVerdict(waitingForChild(child({ stdio: [stdin], users })), 'child-process-stuck', 'stdin-open', '5000 `cat`')
  })

  test('is not blamed on a stdin that was ended, or that nobody reads', () => {
    const ended = { part: 'stdin', stream: stream('Socket', { writable: writable({ ended: true }) }) } as const
    for (const facts of [
      waitingForChild(child({ stdio: [ended], users: [uses('read', 'stdin')] })),
      waitingForChild(child({ stdio: [stdin], users: [uses('holds', 'stdin')] })),
    ]) {
      expectVerdict(facts, 'child-process-stuck', 'waiting', 'is alive')
    }
  })

  test('is blamed on an output that is full and not read, before an open stdin', () => {
    const users = [uses('write', 'stderr'), uses('read', 'stdin')]
    const facts = waitingForChild(child({ stdio: [stdin, read('stdout'), unread('stderr')], users }), 'close')
    expectVerdict(facts, 'pipe-or-backpressure-deadlock', 'full-stderr', 'stderr', 'nobody reads')
  })

  test('is not blamed on an output that is being read', () => {
    const users = [uses('write', 'stdout')]
    expectVerdict(waitingForChild(child({ stdio: [read('stdout')], users })), 'child-process-stuck', 'waiting')
  })

  test('is blamed on the signal that it was sent and survived', () => {
    for (const [view, variant, words] of [
      [kernel({ caught: ['SIGTERM'] }), 'handled', 'handles that signal'],
      [kernel({ ignored: ['SIGTERM'] }), 'ignored', 'ignores that signal'],
      [kernel({ blocked: ['SIGTERM'] }), 'blocked', 'blocks that signal'],
      [kernel({ state: 'T' }), 'stopped', 'is stopped'],
    ] as const) {
      const facts = waitingForChild(child({ killed: true, kernel: view }), 'exit', { signals: [sent('SIGTERM')] })
      expectVerdict(facts, 'signal-not-delivered', variant, 'SIGTERM', 'exit', 'test/a.test.ts:8', words)
    }
  })

  test('counts a signal to its process group, and `killed` where no call was noted', () => {
    const view = kernel({ caught: ['SIGINT', 'SIGTERM'] })
    const group = waitingForChild(child({ kernel: view }), 'exit', { signals: [sent('SIGINT', -4912)] })
    expectVerdict(group, 'signal-not-delivered', 'handled', 'SIGINT')
    expectVerdict(waitingForChild(child({ killed: true, kernel: view })), 'signal-not-delivered', 'handled', 'SIGTERM')
  })

  test('does not count signals to others, nor one that stops it', () => {
    const other = waitingForChild(child(), 'exit', { signals: [sent('SIGTERM', 1234)] })
    expectVerdict(other, 'child-process-stuck', 'waiting')
    const stopped = child({ killed: true, kernel: kernel({ state: 'T', doing: 'stopped by a signal' }) })
    expectVerdict(
      waitingForChild(stopped, 'exit', { signals: [sent('SIGSTOP')] }),
      'child-process-stuck',
      'stopped',
      'stopped',
    )
  })

  test('is blamed on whoever keeps the output of a child that has ended', () => {
    const facts = waitingForChild(
      child({
        exitCode: 0,
        kernel: null,
        stdio: [read('stdout')],
        users: [uses('holds', 'stdout', 5001, 'sleep 75')],
      }),
      'close',
    )
    expectVerdict(facts, 'child-process-stuck', 'output-held', "'close'", 'stdout', '5001 `sleep 75`', 'code 0')
    expect(classify(facts).confidence).toBe('certain')
  })

  test('is blamed on the signal when it ended the shell and not the program that the shell had started', () => {
    const one = child({
      signalCode: 'SIGTERM',
      killed: true,
      kernel: null,
      stdio: [read('stdout')],
      users: [uses('holds', 'stdout', 5001, 'sleep 75')],
    })
    const facts = waitingForChild(one, 'close', { signals: [sent('SIGTERM')] })
    expectVerdict(facts, 'signal-not-delivered', 'descendant-not-reached', 'SIGTERM', '5001')
  })

  test('is blamed on the channel when the child is idle and connected', () => {
    expectVerdict(waitingForChild(child({ connected: true })), 'child-process-stuck', 'ipc-open', 'IPC', 'exit')
    const computing = child({ connected: true, kernel: kernel({ state: 'R', doing: 'on the CPU', cpuMs: 390 }) })
    expectVerdict(waitingForChild(computing), 'child-process-stuck', 'busy', 'computes')
  })

  test('says what the child does when nothing else is known, and where /proc is missing that is a guess', () => {
    const sleeping = child({ kernel: kernel({ doing: 'blocked in wait4(2), waiting for child 7 `sleep 60`' }) })
    expectVerdict(waitingForChild(sleeping), 'child-process-stuck', 'waiting', 'sleep 60')
    expect(classify(waitingForChild(child({ kernel: null }))).confidence).toBe('guess')
  })

  test('may be one for its stdio', () => {
    const one = child({
      stdio: [{ part: 'stdin', stream: stream('Socket', { writable: writable({ length: 5000, needDrain: true }) }) }],
    })
    const facts = waitingFor({ name: 'Socket', child: { pid: 4912, part: 'stdin' } }, 'drain', {
      waitedFor: waited({ children: [one] }),
    })
    expectVerdict(facts, 'pipe-or-backpressure-deadlock', 'full-stdin', '5000 bytes')
  })

  test('may be hidden behind an object of the user that listens to the child', () => {
    const facts = waitingForChild(child({ connected: true }))
    const held = facts.awaits![0]!.heldBy
    const [own] = held.splice(0, 1)
    held.push({
      owner: 'Proc',
      path: 'Proc.done',
      id: 901,
      behind: { owner: 'ChildProcess', path: own!.path, event: 'exit', id: 900 },
    })
    expectVerdict(facts, 'child-process-stuck', 'ipc-open')
  })

  test('is none of a thread that does not answer', () => {
    const facts = { ...waitingForChild(child({ connected: true })), loop: 'blocked' as const }
    expect(classify(facts).class).toBe('event-loop-blocked')
  })
})

describe('a wait for a signal to the process itself', () => {
  const facts = (pool: string, signals = [sent('SIGUSR2', 4812)]): HangFacts => ({
    ...waitingFor({ name: 'process' }, 'SIGUSR2', { waitedFor: waited({ signals }) }),
    pool,
  })

  test('can never be answered in a worker thread', () => {
    expectVerdict(facts('threads'), 'signal-not-delivered', 'own-process', 'SIGUSR2', 'worker thread')
  })

  test('names where the signal was sent, or that it was not', () => {
    expectVerdict(facts('forks'), 'signal-not-delivered', 'own-process', 'test/a.test.ts:8')
    expectVerdict(facts('forks', []), 'signal-not-delivered', 'own-process', 'nobody')
  })
})

describe('the dump of a wait for a child', () => {
  const facts = waitingForChild(
    child({ stdio: [stdin, unread('stdout')], users: [uses('write', 'stdout'), uses('read', 'stdin', 5000, 'cat')] }),
    'exit',
    { signals: [sent('SIGHUP')] },
  )
  const record = buildRecord(facts, classify(facts))

  test('can be read again, and shows both sides of the child', () => {
    const read = parseDumpRecord(JSON.parse(JSON.stringify(record)))
    const text = renderDump(read)
    for (const words of [
      'child 4912 `node filter.js`   alive (S)   created test/a.test.ts:7:17',
      'our end of stdout: a Socket: readable side never read with 65536 of 65536',
      '4912 `node filter.js` waits to write to stdout',
      '5000 `cat` waits to read from stdin',
      'SIGHUP was sent to 4912 at test/a.test.ts:8:3',
    ]) {
      expect(text).toContain(words)
    }
  })

  test('is refused when a field of it is not what it should be', () => {
    const broken = JSON.parse(JSON.stringify(record))
    broken.waitedFor.children[0].stdio[0].stream = { name: 'Socket' }
    expect(() => parseDumpRecord(broken)).toThrow('waitedFor.children[0].stdio[0].stream.destroyed')
    let chain = {}
    for (let i = 0; i < 50; i++) chain = { name: 'Pipe', destroyed: false, into: chain }
    broken.waitedFor.children[0].stdio[0].stream = chain
    expect(() => parseDumpRecord(broken)).toThrow('a chain of at most')
  })

  test('hides secrets in command lines', () => {
    const secret = waitingForChild(child({ command: 'tool --password hunter22', users: [] }))
    expect(JSON.stringify(buildRecord(secret, classify(secret)))).not.toContain('hunter22')
  })
})
