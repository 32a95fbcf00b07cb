/** Who can still settle what a suspended function waits for, as a reason from a closed list and a phrase. */
import type { HeldBy } from '../inspect/facts.ts'
import type { WaitObject } from '../inspect/wait-facts.ts'
import { childWords } from './children.ts'
import { firstUser } from './classes/common.ts'
import type { AwaitFrame, HangFacts, LockWaitFrames } from './facts.ts'
import { readHolder, TURN } from './holders.ts'
import type { DumpWait } from './schema.ts'
import { stateWords } from './stream-waits.ts'
import { count, list, oneLine, sameLine, seconds, where } from './words.ts'

/**
 * What a leaf of the await graph waits for; undefined for a function that waits for another one.
 *
 * The reasons are those of the dump format: `lock`, `event`, `timer`, `io`, `stream item`, `stream space`, `process exit`,
 * `worker message`, `module load`, and `promise` for what only the program's own code can settle.
 */
export function waitReason(facts: HangFacts, frame: AwaitFrame): DumpWait | undefined {
  const lock = facts.locks?.waits.find((wait) => standsAt(wait, frame))
  if (lock !== undefined) return lockWait(lock)
  const [held] = frame.heldBy
  if (held === undefined) return undefined
  const event = frame.heldBy.find((one) => one.event !== undefined && one.id === held.id) ?? held
  const { behind } = event
  const found = reasonOf(facts, behind === undefined ? event : { ...behind, path: behind.path })
  const created = createdAt(facts, event)
  return { ...found, ...(created && { created }) }
}

function standsAt(wait: LockWaitFrames, frame: AwaitFrame): boolean {
  return frame.user && frame.exact && [...wait.inner, wait.call].some(({ site }) => sameLine(site, frame.site))
}

function lockWait({ lock, method, holders }: LockWaitFrames): DumpWait {
  const taken = holders.map((one) => where(one.taken.site)).slice(0, 3)
  const name = lock === '' ? `${method}()` : `${lock}.${method}()`
  return { reason: 'lock', for: `its turn in ${name}, taken at ${list([...new Set(taken)])}` }
}

/** Where the object was made. */
function createdAt(facts: HangFacts, held: HeldBy): DumpWait['created'] {
  const object = facts.waitedFor?.objects.find(({ id }) => id === (held.behind?.id ?? held.id))
  const pid = object?.child?.pid
  const handle = facts.handles?.find((one) => one.id === object?.handle || (pid !== undefined && one.pid === pid))
  return firstUser(handle?.created)?.site
}

function reasonOf(facts: HangFacts, held: HeldBy): DumpWait {
  const object = facts.waitedFor?.objects.find(({ id }) => id === held.id)
  const event = held.event === undefined ? '' : `'${oneLine(held.event, 60)}' of `
  if (held.fakeClock) return { reason: 'timer', for: `a timer of a fake clock (${oneLine(held.path, 120)})` }
  if (object?.child !== undefined) return childWait(facts, object.child, held.event)
  if (object?.stream !== undefined && held.owner !== 'Socket') return streamWait(object, held, event)
  if (object?.timer !== undefined) {
    const { ms, repeats } = object.timer
    return { reason: 'timer', for: `a timer ${repeats ? 'that runs every' : 'of'} ${seconds(ms)}` }
  }
  if (object?.request !== undefined) {
    const { method, path, host, sent } = object.request
    const state = sent ? 'which was sent' : 'which has not been sent to its end'
    return { reason: 'io', for: oneLine(`${event}the request ${method} ${host}${path}, ${state}`, 200) }
  }
  if (object?.worker !== undefined) {
    return {
      reason: held.event === 'exit' ? 'event' : 'worker message',
      for: `${event}Worker #${object.worker.threadId}`,
    }
  }
  if (object?.server !== undefined) {
    const { port, path, connections } = object.server
    const at = path ?? (port === null ? '' : `port ${port}`)
    const open = connections === null ? '' : ` with ${count(connections, 'open connection')}`
    return { reason: 'event', for: oneLine(`${event}${held.owner} ${at}${open}`.replace(/ {2,}/g, ' '), 200) }
  }
  if (held.owner === 'Socket' || held.owner === 'TLSSocket') {
    const port = object?.socket?.remotePort
    return { reason: 'io', for: `${event}${held.owner}${port == null ? '' : ` to port ${port}`}` }
  }
  // Node's own lock is a native object, which has no id.
  if (/^Lock(?:Holder)?$/.test(held.path)) return { reason: 'lock', for: 'a web lock (navigator.locks)' }
  for (const [owner, reason, words] of KINDS) {
    if (owner.test(held.owner)) return { reason, for: words === '' ? `${event}${held.owner}` : words }
  }
  if (held.event !== undefined) return { reason: 'event', for: `${event}${oneLine(held.owner, 80)}` }
  if (readHolder(held).why === TURN) return { reason: 'lock', for: `its turn in ${oneLine(held.path, 160)}` }
  return { reason: 'promise', for: `a call of ${oneLine(held.path, 160)}` }
}

const KINDS: [owner: RegExp, reason: DumpWait['reason'], words: string][] = [
  [/^(?:MessagePort|BroadcastChannel|MessageChannel|Worker)$/, 'worker message', ''],
  [/^module loader$/, 'module load', 'the load of a module'],
  [/^(?:Timeout|Interval|Timer|Immediate|TimersList)$/, 'timer', 'a timer'],
  [/^fetch$/, 'io', 'the response to a request (fetch)'],
  [/^Get(?:Addr|Name)InfoReq|^QueryReqWrap/, 'io', 'a DNS lookup'],
  [/^FSReq|^FileHandle/, 'io', 'the file system'],
  [/Req\w*$|Wrap$/, 'io', ''],
  [/^(?:ClientRequest|IncomingMessage|ClientHttp2\w+|Interface|ChildProcess)$/, 'io', ''],
  [/^Atomics\.waitAsync$/, 'worker message', 'a call of Atomics.notify on the cell that it waits at'],
]

function childWait(facts: HangFacts, of: NonNullable<WaitObject['child']>, event: string | undefined): DumpWait {
  const child = facts.waitedFor?.children.find(({ pid }) => pid === of.pid)
  const name = child === undefined ? `child ${of.pid}` : childWords(child)
  const what = event === undefined ? '' : `'${oneLine(event, 60)}' of `
  if (of.part !== undefined) return { reason: 'io', for: `${what}the ${of.part} of ${name}` }
  const ends = event === 'exit' || event === 'close' || event === undefined
  return { reason: ends ? 'process exit' : 'event', for: `${what}${name}` }
}

function streamWait({ stream }: WaitObject, held: HeldBy, event: string): DumpWait {
  const space = held.event === 'drain' || held.event === 'finish' || held.event === undefined
  return {
    reason: space ? 'stream space' : 'stream item',
    for: `${event}${stream === undefined ? held.owner : stateWords(stream)}`,
  }
}
