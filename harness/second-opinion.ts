/** Gives handles without a line of the user's the one that why-is-node-running saw in the second run. */
import type { Frame, Handle } from '../src/dump/facts.ts'
import type { RawFrame } from '../src/inspect/facts.ts'
import type { HandleOpinion } from './protocol.ts'

/** Our kinds by the types of `async_hooks`. */
const KINDS: Record<string, readonly string[]> = {
  Timeout: ['Timeout', 'Interval'],
  Immediate: ['Immediate'],
  TCPSERVERWRAP: ['Server'],
  PIPESERVERWRAP: ['UnixServer'],
  TCPWRAP: ['Socket'],
  TLSWRAP: ['Socket'],
  PIPEWRAP: ['UnixSocket', 'Pipe'],
  UDPWRAP: ['UdpSocket'],
  FSEVENTWRAP: ['FSWatcher'],
  STATWATCHER: ['StatWatcher'],
  PROCESSWRAP: ['ChildProcess'],
  WORKER: ['Worker'],
  MESSAGEPORT: ['MessagePort', 'BroadcastChannel'],
  FILEHANDLE: ['FileHandle'],
  SIGNALWRAP: ['Signal'],
  TTYWRAP: ['Tty'],
}

/** Does a handle hold the worker whose line our own record does not know? Only then is there something to ask. */
export function needsOpinion(
  handles: readonly { ref: boolean; created: readonly RawFrame[] }[],
  isUser: (url: string) => boolean,
): boolean {
  return handles.some(({ ref, created }) => ref && !created.some(({ at }) => at !== null && isUser(at.url)))
}

/** Each opinion serves one handle, the oldest first, as both lists have them. */
export function withOpinions(
  handles: readonly Handle[],
  opinions: readonly HandleOpinion[],
  frames: (raw: RawFrame[]) => Frame[],
): Handle[] {
  const left = opinions
    .map(({ type, frames: raw }) => ({ kinds: KINDS[type] ?? [type], created: frames(raw) }))
    .filter(({ created }) => created.some((frame) => frame.user))
  for (const { kind, created } of handles) {
    const known = left.findIndex((one) => one.kinds.includes(kind) && sameLine(one.created, created))
    if (known >= 0) left.splice(known, 1)
  }
  return handles.map((handle) => {
    if (handle.created.some((frame) => frame.user)) return handle
    const at = left.findIndex((one) => one.kinds.includes(handle.kind))
    const [opinion] = at < 0 ? [] : left.splice(at, 1)
    return opinion === undefined ? handle : { ...handle, created: opinion.created, by: 'why-is-node-running' }
  })
}

function sameLine(a: readonly Frame[], b: readonly Frame[]): boolean {
  const one = a.find((frame) => frame.user)?.site
  return b.some(({ user, site }) => user && site.path === one?.path && site.line === one.line)
}
