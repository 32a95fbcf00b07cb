/** Facts about what is waited for, for the tests of the classes of children, pipes and streams. */
import type { HangFacts, WaitedFor } from '../../src/dump/facts.ts'
import type { ChildFact, KernelView, StreamFact, WaitObject } from '../../src/inspect/wait-facts.ts'
import { factsOf, frame, heldBy, suspended } from './sample-facts.ts'

export const SPAWN_LINE = 'test/a.test.ts:7:17'

export function kernel(changes: Partial<KernelView> = {}): KernelView {
  return {
    state: 'S',
    doing: 'idle in its event loop',
    cpuMs: 0,
    spanMs: 400,
    caught: [],
    ignored: [],
    blocked: [],
    pending: [],
    ...changes,
  }
}

export function stream(name: string, changes: Partial<StreamFact> = {}): StreamFact {
  return { name, destroyed: false, closed: false, errored: false, ...changes }
}

export const readable = (changes: Partial<NonNullable<StreamFact['readable']>> = {}) => ({
  length: 0,
  highWaterMark: 65536,
  flowing: null,
  ended: false,
  endEmitted: false,
  readers: 0,
  pulled: false,
  ...changes,
})

export const writable = (changes: Partial<NonNullable<StreamFact['writable']>> = {}) => ({
  length: 0,
  highWaterMark: 65536,
  ended: false,
  finished: false,
  needDrain: false,
  corked: false,
  ...changes,
})

export function child(changes: Partial<ChildFact> = {}): ChildFact {
  return {
    pid: 4912,
    command: 'node filter.js',
    exitCode: null,
    signalCode: null,
    killed: false,
    connected: false,
    stdio: [],
    kernel: kernel(),
    users: [],
    ...changes,
  }
}

export function waited(changes: Partial<WaitedFor> = {}): WaitedFor {
  return { objects: [], children: [], sockets: [], signals: [], fetches: [], ...changes }
}

/** An idle test that waits for an event of an object, heap id 900. */
export function waitingFor(
  object: Omit<WaitObject, 'id' | 'asyncIds'>,
  event: string,
  more: Partial<HangFacts> = {},
  source = `await once(it, '${event}')`,
): HangFacts {
  const held = heldBy(object.name, `${object.name}._events.${event}`, { event, id: 900 })
  const { waitedFor, ...rest } = more
  return factsOf({
    awaits: [suspended(1, frame('<anonymous>', 'test/a.test.ts:9:3', source), { heldBy: [held] })],
    handles: [],
    ...rest,
    waitedFor: waited({ ...waitedFor, objects: [{ id: 900, asyncIds: [], ...object }] }),
  })
}

/** An idle test that waits for an event of a child that was started in line 7. */
export function waitingForChild(one: ChildFact, event = 'exit', more: Partial<WaitedFor> = {}): HangFacts {
  const created = [frame('spawn', 'node:child_process:796:9'), frame('<anonymous>', SPAWN_LINE, 'spawn(program)')]
  const handle = { id: 3, kind: 'ChildProcess', what: '', ref: true, ageMs: 900, created, pid: one.pid }
  return waitingFor({ name: 'ChildProcess', child: { pid: one.pid } }, event, {
    handles: [handle],
    waitedFor: waited({ children: [one], ...more }),
  })
}
