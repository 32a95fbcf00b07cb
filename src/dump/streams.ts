/** What the state of a stream means for somebody who waits for it. */
import type { StreamFact } from '../inspect/wait-facts.ts'

/** The innermost of a chain of pipes: the stream that stops the others. */
export function lastOf(stream: StreamFact): StreamFact {
  let last = stream
  for (let steps = 0; last.into !== undefined && steps < 16; steps++) last = last.into
  return last
}

/** Nobody takes what is in its readable side: it was never asked for data, or is paused. */
export function isUnread({ readable, destroyed }: StreamFact): boolean {
  if (readable === undefined || destroyed || readable.endEmitted || readable.pulled) return false
  return readable.flowing === false || (readable.flowing === null && readable.readers === 0)
}

/** Its readable side is full; in a thread that is idle, nobody takes anything out then. */
export function isFull({ readable, destroyed }: StreamFact): boolean {
  return readable !== undefined && !destroyed && readable.length >= Math.max(1, readable.highWaterMark)
}
