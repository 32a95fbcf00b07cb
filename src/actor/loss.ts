/** What is told of a channel that has broken: who was at the other end, how that one ended, and what waited for it. */
import { TransportClosed } from '../errors.ts'
import type { Exit } from '../spawn/backend.ts'
import { formatExit } from '../spawn/exit.ts'
import { type Aid, uidOf } from '../wire/messages.ts'

/** An actor that this side has started, so that it hears of its end: a {@link file://./child.ts} */
export interface Owned {
  readonly method: string
  /** `pid 4912`, `thread 3` */
  readonly where: string
  /** How it has ended, once it has. */
  readonly ending: Exit | undefined
  /** The error that its nursery makes of that end, for one that is none of an orderly end. */
  readonly obituary: Error | undefined
  /** Settles when it has ended, at the latest after `limitMs`. */
  endedWithin(limitMs: number): Promise<void>
}

/**
 * @param during what waited: `call tally.add`
 * @param reason what the channel said
 * @param owned when the other end is a child of ours
 */
export function lossOf(aid: Aid, during: string, reason: TransportClosed, owned?: Owned): TransportClosed {
  const { by, logLevel } = reason
  const exit = owned?.ending
  const who = `actor ${aid.name}@${aid.uuid.slice(0, 8)}${where(aid, owned)}`
  const how = exit
    ? `${who} has ended: ${formatExit(exit)}`
    : `the channel to ${who} is closed: ${reason.message}${owned && by !== 'local' ? '; the actor itself has not ended' : ''}`
  return new TransportClosed(`${during}: ${how}`, {
    by,
    logLevel,
    cause: owned?.obituary ?? reason,
    actor: {
      uid: uidOf(aid),
      during,
      ...(owned && { backend: owned.method, where: owned.where }),
      ...(exit && { exitCode: exit.code, signal: exit.signal }),
    },
  })
}

function where(aid: Aid, owned: Owned | undefined): string {
  if (owned) return ` (${owned.method}, ${owned.where})`
  return aid.pid === undefined ? '' : ` (pid ${aid.pid})`
}
