import type { HeldBy } from '../inspect/facts.ts'

/** What settles promises by itself: handles and requests of Node, which no queue of the program's is named after. */
const ALIVE =
  /^(?:Timeout|Interval|Timer|Immediate|TimersList|\w*Server\w*|\w*Socket|ChildProcess|Worker|MessagePort|BroadcastChannel|FSWatcher|StatWatcher|FileHandle|\w*Stream|Readable|Writable|Duplex|Transform|PassThrough|ClientRequest|IncomingMessage|ServerResponse|HTTPParser|Fetch|fetch|AbortSignal|EventTarget|FSReq\w*|\w*Wrap|Interface|FakeClock|globalThis|module loader|Atomics\.waitAsync)$/

/**
 * Is this a place in the program's own collections, fields or variables, such as `Pool.waiters[0]` or `variable queue[0]`,
 * where only the program itself would look for the promise?
 */
export function isWaitingLine(held: HeldBy): boolean {
  return held.event === undefined && held.fakeClock !== true && (!ALIVE.test(held.owner) || isUsersClass(held))
}

/** A class of the user's may be called `Server` as well; those of Node have no private fields. */
export function isUsersClass({ owner, path }: HeldBy): boolean {
  return path.startsWith(`${owner}.#`)
}

/** Is this what every test waits for beside its own promise: vitest's limit? */
export function isOfTheRunner({ owner }: HeldBy): boolean {
  return /^(?:Timeout|TaskDeadline|AbortSignal)$/.test(owner)
}

/** Is this vitest's list of the factories of mocks that run? It keeps their promises, and settles none. */
export function isOfMocks({ owner }: HeldBy): boolean {
  return owner === 'VitestMocker'
}
