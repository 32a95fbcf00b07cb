/** The line that made what a hung await waits for: the watcher, the worker, the connection that keeps a server open. */
import type { WaitObject } from '../inspect/wait-facts.ts'
import type { Leaf } from './chains.ts'
import { firstUser } from './classes/common.ts'
import type { Frame, Handle, HangFacts } from './facts.ts'
import { isWaitingLine } from './waiting-line.ts'
import { oneLine, where } from './words.ts'

export interface MadeAt {
  frame: Frame
  /** A clause: `the connection to 127.0.0.1:4711 that was made at a.test.ts:3:1 is open`. */
  words: string
}

/** Owners whose own place of creation is of interest, with the kinds of handles that they are. */
const KINDS: Record<string, readonly string[]> = {
  FSWatcher: ['FSWatcher'],
  StatWatcher: ['StatWatcher'],
  Worker: ['Worker'],
  BroadcastChannel: ['BroadcastChannel'],
  Socket: ['Socket', 'UnixSocket'],
  TLSSocket: ['Socket'],
  MessagePort: ['MessagePort'],
  ClientHttp2Session: ['Socket'],
  ClientHttp2Stream: ['Socket'],
}

/** Owners that are no handles themselves, but have one. */
const STANDS_ON = /^(?:ClientRequest|IncomingMessage|Interface)$/

/** What keeps the await from settling and where it was made; undefined when that is not known for sure enough. */
export function madeAt(facts: HangFacts, leaf: Leaf): MadeAt | undefined {
  for (const held of leaf.heldBy) {
    const object = facts.waitedFor?.objects.find(({ id }) => id === held.id)
    if (/Server$/.test(held.owner) && held.event === 'close') return connection(facts, object)
    const own = (facts.handles ?? []).find(({ id }) => id === object?.handle)
    const frame = firstUser(own?.created)
    if (own !== undefined && frame !== undefined) {
      const what = STANDS_ON.test(held.owner) ? 'its connection' : 'it'
      return { frame, words: `${what} was made at ${where(frame.site)}${naming(own)}` }
    }
    const kinds = KINDS[held.owner]
    if (kinds === undefined) continue
    const made = latest((facts.handles ?? []).filter((one) => kinds.includes(one.kind) && isSame(one, object)))
    if (made !== undefined)
      return { frame: made.frame, words: `it was made at ${where(made.frame.site)}${naming(made.handle)}` }
  }
  const [only, second] = answering(facts)
  const frame = firstUser(only?.created)
  // A table of requests is worked off by whoever gets the answers: with one such thing open, that is it.
  return only !== undefined && second === undefined && frame !== undefined && leaf.heldBy.every(isWaitingLine)
    ? { frame, words: `the ${only.kind} made at ${where(frame.site)} is open and has not answered${naming(only)}` }
    : undefined
}

/** Kinds of handles that bring something in from outside of the thread. */
const ANSWERING =
  /^(?:Worker|ChildProcess|Socket|UnixSocket|UdpSocket|Pipe|MessagePort|BroadcastChannel|FSWatcher|StatWatcher)$/

/** What is open and could bring the answer that somebody waits for in a table of the program's own. */
export function answering({ handles }: HangFacts): Handle[] {
  return (handles ?? []).filter(({ kind, created }) => ANSWERING.test(kind) && firstUser(created) !== undefined)
}

function naming({ what }: Handle): string {
  return what === '' ? '' : ` (${oneLine(what, 120)})`
}

/** A connection is told by the port of its other end; of other things there is mostly one. */
function isSame(handle: Handle, object: WaitObject | undefined): boolean {
  const port = object?.socket?.remotePort
  return port === undefined || port === null || handle.what.endsWith(`:${port}`)
}

function latest(handles: readonly Handle[]): { handle: Handle; frame: Frame } | undefined {
  for (const handle of handles.toReversed()) {
    const frame = firstUser(handle.created)
    if (frame !== undefined) return { handle, frame }
  }
  return undefined
}

/** Who is still connected to a server that closes. */
function connection(facts: HangFacts, object: WaitObject | undefined): MadeAt | undefined {
  const server = object?.server
  const ports = server?.port != null ? [server.port] : acceptedPorts(facts)
  const path = server?.path
  const open = (facts.handles ?? []).filter(
    (one) =>
      (one.kind === 'Socket' && ports.some((port) => one.what.endsWith(`:${port}`))) ||
      (one.kind === 'UnixSocket' && (path == null || one.what === path)),
  )
  const made = latest(open)
  if (made !== undefined) {
    return {
      frame: made.frame,
      words: `the connection to ${oneLine(made.handle.what, 80)} that was made at ${where(made.frame.site)} is still open`,
    }
  }
  // undici connects on its own time: the call that made it do so is what is known.
  const request = (facts.waitedFor?.fetches ?? []).findLast(({ port }) => port !== null && ports.includes(port))
  const frame = firstUser(request?.frames)
  return (
    frame && {
      frame,
      words: `the response to the request that was made at ${where(frame.site)} has not ended, or was not read`,
    }
  )
}

/** The server itself could not be looked at: the ports that connections were accepted at. */
function acceptedPorts(facts: HangFacts): number[] {
  const sockets = facts.waitedFor?.sockets ?? []
  return [...new Set(sockets.flatMap(({ accepted, localPort }) => (accepted ? (localPort ?? []) : [])))]
}
