/** What a holder of an awaited promise means: which resource it is, why it may stay silent, what to try. */
import type { HeldBy } from '../inspect/facts.ts'
import { isUsersClass } from './waiting-line.ts'
import { oneLine } from './words.ts'

/** The reading of one holder. */
export interface HolderReading {
  held: HeldBy
  /** True when something outside the program's own variables is alive and may still settle the promise. */
  live: boolean
  /** End of a sentence: why nothing came, e.g. `the server reports 'close' only when ...`. */
  why: string
  hint?: string
  /** Classes that the shape of the holder suggests as well. */
  consider: string[]
}

interface Kind {
  owner: RegExp
  event?: RegExp
  path?: RegExp
  live?: false
  /** Classes of Node's own: a class of the user's with such a name is something else. */
  ofNode?: true
  why: string
  hint?: string
  consider?: string[]
}

/** Why a promise in a queue of the program's own does not settle. */
export const TURN = 'its turn has not come'

const LOCK = 'lock-or-semaphore-deadlock'
const PIPE = 'pipe-or-backpressure-deadlock'
const CHILD = 'child-process-stuck'

/** The first fitting kind counts. `{event}` is the name of the event, `{owner}` the class of the holder. */
const KINDS: Kind[] = [
  {
    owner: /^fetch$/,
    why: 'the request was sent and no response has come',
    hint: 'see that every branch of the request handler ends its response',
  },
  {
    owner: /Server$/,
    event: /^close$/,
    why: "a server reports 'close' only when its last open connection (socket) has ended, and one is still open",
    hint: 'end the clients and responses first, or call server.closeAllConnections() or socket.destroy()',
  },
  { owner: /Server$/, event: /./, why: "the server is alive but has not emitted '{event}'" },
  { owner: /Server$/, ofNode: true, why: 'the server is alive and has not called back' },
  {
    owner: /^ChildProcess$/,
    why: "the child process has not emitted '{event}'; whether it is stuck itself was not looked at",
    hint: 'see what the child waits for: end its stdin, read its output, disconnect its channel or kill it',
    consider: [CHILD],
  },
  {
    owner: /^(?:FSWatcher|StatWatcher)$/,
    why: 'the watcher is open, but nothing that it watches has changed',
    hint: 'check that the watched path is the one that is written to',
  },
  {
    owner: /^Worker$/,
    event: /^exit$/,
    ofNode: true,
    why: 'the thread still runs',
    hint: 'see what keeps its event loop busy (a port that listens, a timer, a server), or end it with worker.terminate()',
  },
  {
    owner: /^(?:Worker|MessagePort|BroadcastChannel|MessageChannel)$/,
    ofNode: true,
    why: 'the other side is alive but has sent nothing',
    hint: 'check that the other thread answers, and that it failed nowhere (listen for error and exit)',
  },
  {
    owner:
      /^(?:ClientRequest|HTTPParser|Client|ClientHttp2Session|ClientHttp2Stream|Fetch|H2Session|Pool|Agent|Request\w*)$/,
    path: /^(?!.*(?:queue|wait|idle)).*$/i,
    why: 'the request was sent and no response has come',
    hint: 'see that every branch of the request handler ends its response',
  },
  {
    owner: /Socket$/,
    event: /^(?:end|close)$/,
    ofNode: true,
    why: 'the connection is open and its peer has not ended it',
  },
  {
    owner: /Socket$/,
    ofNode: true,
    why: 'the connection is open, and its peer has sent nothing more and not ended it',
  },
  {
    owner: /^(?:Timeout|Interval|Timer|Immediate|TimersList)$/,
    why: 'a timer is still pending: either it is far away, or it repeats and finds its condition false every time',
    hint: 'give the wait a deadline, and check the condition that it polls',
  },
  { owner: /^AbortSignal$|^EventTarget$/, why: 'it has not fired: nobody has called abort()' },
  { owner: /^(?:FSReq\w*|GetAddrInfoReq\w*|\w*ReqWrap|FileHandle)$/, why: 'the operating system has not answered' },
  {
    ofNode: true,
    owner: /Stream$|^(?:Readable|Writable|Duplex|Transform|PassThrough|Stream|Sink)$/,
    live: false,
    why: "the stream has not emitted '{event}': it may be full, unread or destroyed",
    hint: 'see that somebody reads the end of the stream, and listen for close and error too',
    consider: [PIPE],
  },
  {
    owner: /./,
    event: /^(?:drain|pipe|unpipe|finish)$/,
    live: false,
    why: "nobody has emitted '{event}'",
    consider: [PIPE],
  },
  {
    owner: /./,
    event: /./,
    why: "nobody has emitted '{event}'",
    hint: 'check that the event comes after somebody listens',
  },
  {
    owner: /lock|mutex|semaphore|pool|limit|gate|latch|queue/i,
    live: false,
    why: TURN,
    hint: 'look for the code that took it and has not given it back',
    consider: [LOCK],
  },
  {
    owner: /./,
    path: /queue|wait|pending|acquire|lock|mutex|semaphore|permit|tail/i,
    live: false,
    why: TURN,
    hint: 'look for the code that took it and has not given it back',
    consider: [LOCK],
  },
  { owner: /^/, live: false, why: 'nothing has called it yet', consider: [LOCK, 'lost-promise'] },
]

/** What this holder means. */
export function readHolder(held: HeldBy): HolderReading {
  const event = held.event ?? eventOf(held.path)
  const isUsers = isUsersClass(held)
  const kind = KINDS.find(
    (one) =>
      one.owner.test(held.owner) &&
      !(one.ofNode && isUsers) &&
      (one.event === undefined || (event !== undefined && one.event.test(event))) &&
      (one.path === undefined || one.path.test(held.path)),
  ) as Kind
  const fill = (text: string): string =>
    text.replaceAll(/ ?'\{event\}'/g, event === undefined ? ' anything' : ` '${oneLine(event, 60)}'`)
  return {
    held,
    live: kind.live !== false,
    why: fill(kind.why),
    ...(kind.hint !== undefined && { hint: kind.hint }),
    consider: kind.consider ?? [],
  }
}

/** The event in `Server._events.close`, for holders that do not say it. */
function eventOf(path: string): string | undefined {
  return /\b_events\.([\w$-]+)/.exec(path)?.[1]
}

/** The most telling holder of several: a live one first. */
export function bestHolder(held: readonly HeldBy[]): HolderReading | undefined {
  const readings = held.map(readHolder)
  return readings.find((one) => one.live) ?? readings[0]
}
