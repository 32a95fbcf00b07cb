/** Hung awaits on streams of this thread: what the stream is waited for, and why it cannot give it. */
import type { HeldBy } from '../inspect/facts.ts'
import type { StreamFact, WaitObject } from '../inspect/wait-facts.ts'
import { leavesOf } from './chains.ts'
import { firstUser } from './classes/common.ts'
import type { Frame, HangFacts } from './facts.ts'
import { isFull, isUnread, lastOf } from './streams.ts'
import { sameLine } from './words.ts'

/** Why a stream does not move. */
export interface StuckStream {
  variant: string
  confidence: 'certain' | 'likely' | 'guess'
  /** A clause. */
  why: string
  hint: string
  evidence: string[]
  /** The line that did it. */
  holder?: Frame
}

/** A hung await on a stream. */
export interface StreamWait {
  frame: Frame
  /** User frames from the await outwards. */
  chain: Frame[]
  heldBy: HeldBy[]
  stuck: StuckStream
}

/** The first await of the hung section that is about a stream which cannot move. */
export function streamWaitOf(facts: HangFacts): StreamWait | undefined {
  if (facts.loop !== 'idle') return undefined
  for (const leaf of leavesOf(facts)) {
    for (const held of leaf.heldBy) {
      const object = facts.waitedFor?.objects.find(({ id }) => id === held.id)
      const worker = object?.worker && workerStuck(object.worker)
      if (worker) return { frame: leaf.frame, chain: leaf.chain, heldBy: leaf.heldBy, stuck: withMade(facts, worker) }
      if (object?.stream === undefined || object.child !== undefined) continue
      const stuck = whyStuck(object.stream, held.event)
      if (stuck !== undefined) return { frame: leaf.frame, chain: leaf.chain, heldBy: leaf.heldBy, stuck }
    }
  }
  return lostWait(facts)
}

/** A worker thread whose stdio stands still. */
function workerStuck({ stdio }: NonNullable<WaitObject['worker']>): StuckStream | undefined {
  for (const { part, stream } of stdio) {
    if (part === 'stdin' && stream.writable && !stream.writable.ended) {
      return {
        variant: 'stdin-open',
        confidence: 'likely',
        why: "the worker thread's stdin was never ended, so a worker that reads it to its end waits for more",
        hint: 'call worker.stdin.end() after the last write',
        evidence: [stateWords(stream)],
      }
    }
    if (part !== 'stdin' && isUnread(stream) && isFull(stream)) {
      return {
        variant: `full-${part}`,
        confidence: 'likely',
        why: `the worker thread's ${part} is full and nobody reads it, so its writes do not come through`,
        hint: `read worker.${part} (a 'data' listener or resume()), or start the worker without ${part}: true`,
        evidence: [stateWords(stream)],
      }
    }
  }
  return undefined
}

/** With the line that made the worker. */
function withMade(facts: HangFacts, stuck: StuckStream): StuckStream {
  const made = firstUser(facts.handles?.findLast((one) => one.kind === 'Worker')?.created)
  return made === undefined ? stuck : { ...stuck, holder: made }
}

/** Streams that deadlock among themselves are garbage: only the trace re-run saw them. */
function lostWait(facts: HangFacts): StreamWait | undefined {
  const { lost } = facts
  if (!lost?.streams || (facts.awaits ?? []).some((one) => one.user && one.owner === facts.owner)) return undefined
  // That nothing is suspended says of a function that is not async nothing at all.
  if (facts.body === 'plain' && !lost.proven) return undefined
  const made = [...lost.created, ...lost.awaited].filter((one) => one.user)
  const found = lost.streams.flatMap(({ stream, listens, destroyed }) =>
    listens.flatMap(({ event, frames }): (StreamWait & { rank: number })[] => {
      const at = firstUser(frames)
      if (at === undefined || (lost.proven && !made.some((one) => sameLine(one.site, at.site)))) return []
      const stuck = whyStuck(stream, event)
      if (stuck === undefined) return []
      const by = stuck.variant === 'destroyed' ? firstUser(destroyed) : undefined
      const awaited = lost.awaited.filter((one) => one.user)
      const chain = lost.proven && awaited.length > 0 ? awaited : frames.filter((one) => one.user)
      // Where nothing was proven, the line that listens is not for sure the line that waits.
      const confidence = lost.proven ? stuck.confidence : 'guess'
      const told = { ...stuck, confidence, ...(by && { holder: by }) } as const
      return [{ frame: chain[0] ?? at, chain, heldBy: [], stuck: told, rank: CAUSES.indexOf(stuck.variant) }]
    }),
  )
  const best = found.sort((a, b) => a.rank - b.rank)[0]
  if (best === undefined) return undefined
  const { rank: _, ...wait } = best
  return wait
}

/** Variants from the cause of a standstill to what merely follows from it. */
const CAUSES = ['destroyed', 'corked', 'unread', 'not-taken', 'final', 'web', 'paused', 'not-ended']

/** Events of the side that is written to, and of the side that is read. */
const INPUT = new Set(['drain', 'finish', 'unpipe'])
const OUTPUT = new Set(['end', 'data', 'readable'])

const WEB_CALLS: Record<string, string> = {
  write: 'a write to it is done only when the other side has taken the data, and nobody reads there',
  ready: 'it is ready only when the other side has taken what was written, and nobody reads there',
  close: 'it is closed only when the other side has taken everything, and nobody reads there',
  pipeTo: 'the destination takes no more, because nobody reads what comes out of it, or the source never ends',
  read: 'nobody writes into it or ends it any more',
}

/** A side of a web stream tells no state; that nothing can move it is known from the loss of its promise. */
function webStuck({ name }: StreamFact, event: string | undefined): StuckStream | undefined {
  const why = WEB_CALLS[event ?? '']
  return why === undefined
    ? undefined
    : {
        variant: 'web',
        confidence: 'likely',
        why: `${event}() of the ${name} cannot go on: ${why}`,
        hint: 'read the other side of the stream at the same time (do not await the write first), and close its source',
        evidence: [],
      }
}

/**
 * Why a stream does not emit an event, as far as its state tells.
 *
 * @param event undefined for a callback of `write()` and the like
 */
export function whyStuck(stream: StreamFact, event: string | undefined): StuckStream | undefined {
  const last = lastOf(stream)
  const name = `the ${stream.name}`
  const { readable, writable } = stream
  if (stream.web) return webStuck(stream, event)
  // It came and nobody listened, which is another class; or the stream is through with that side, or has none.
  const input = event !== undefined && INPUT.has(event)
  const output = event !== undefined && OUTPUT.has(event)
  if (event !== undefined && !input && !output && event !== 'close') return undefined
  if (input && (writable === undefined || writable.finished)) return undefined
  if (output && (readable === undefined || readable.endEmitted)) return undefined
  if (event === 'close' && stream.closed) return undefined
  if ((readable?.endEmitted ?? true) && (writable?.finished ?? true)) return undefined
  const evidence = [stateWords(stream), ...(last === stream ? [] : [`it is piped into ${stateWords(last)}`])]
  if (event !== 'close' && stream.destroyed) {
    return {
      variant: 'destroyed',
      confidence: 'certain',
      why: `${name} has been destroyed, and a destroyed stream emits 'close' but never ${event === undefined ? 'what is waited for' : `'${event}'`}`,
      hint: "wait for 'close' and 'error' as well (stream/promises' finished() and pipeline() do), or do not destroy what is still written to",
      evidence,
    }
  }
  // The sides of a socket have nothing to do with each other.
  const full =
    last.transform &&
    last.writable !== undefined &&
    isFull(last) &&
    (last.writable.needDrain || last.writable.length > 0)
  if (full) {
    const which = last === stream ? name : `the ${last.name} at the end of the pipe`
    return {
      variant: 'unread',
      confidence: 'certain',
      why: `the readable side of ${which} is full (${sizeWords(last)}) and nobody reads it, so it takes no more, and neither does what writes to it`,
      hint: "read the last stream (a 'data' listener, resume(), for await), or end the pipeline with a Writable",
      evidence,
    }
  }
  if ((event === 'end' || event === 'close') && isUnread(stream)) {
    return {
      variant: 'paused',
      confidence: 'likely',
      why: `nobody reads ${name}${stream.readable?.flowing === false ? ', which is paused' : ''}: '${event}' comes only after all of its data has been read`,
      hint: "read it (a 'data' listener, resume(), for await) before waiting for 'end'",
      evidence,
    }
  }
  return stuckWriting(last, event, output, last === stream ? name : `the ${last.name} that it is piped into`, evidence)
}

function stuckWriting(
  { readable, writable, transform }: StreamFact,
  event: string | undefined,
  output: boolean,
  name: string,
  evidence: string[],
): StuckStream | undefined {
  if (writable === undefined || writable.finished || (output && !transform)) return undefined
  if (writable.corked) {
    return {
      variant: 'corked',
      confidence: 'certain',
      why: `${name} is corked: what is written is kept back until uncork()`,
      hint: 'call uncork() as often as cork(), or end()',
      evidence,
    }
  }
  if (writable.length > 0) {
    return {
      variant: 'not-taken',
      confidence: 'likely',
      why: `${name} holds ${writable.length} that were written and does not take them: the callback of its write has not been called, or what is behind it takes no more, so ${event === undefined ? 'nothing comes' : `'${event}' does not come`}`,
      hint: 'see that write() and transform() always call their callback, and that the other side reads',
      evidence,
    }
  }
  const bound = event === 'finish' || (event === 'close' && (transform || readable === undefined)) || output
  if (!bound) return undefined
  if (writable.ended) {
    return {
      variant: 'final',
      confidence: 'likely',
      why: `end() was called on ${name} and all is written, but its ${transform ? 'flush()' : 'final()'} has not called back, so '${event}' cannot come`,
      hint: `see that ${transform ? 'flush()' : 'final()'} calls its callback on every way through it`,
      evidence,
    }
  }
  return {
    variant: 'not-ended',
    confidence: 'likely',
    why: `nobody has called end() on ${name}, so '${event}' cannot come`,
    hint: 'call end() after the last write',
    evidence,
  }
}

function sizeWords({ readable }: StreamFact): string {
  return readable === undefined ? '' : `${readable.length} of ${readable.highWaterMark}`
}

/** The state of a stream in a few words. */
export function stateWords(stream: StreamFact): string {
  const { name, readable, writable } = stream
  const words = [
    ...(stream.destroyed ? ['destroyed'] : []),
    ...(readable
      ? [
          `readable side ${readable.flowing === true ? 'flowing' : readable.pulled ? 'pulled' : readable.flowing === false ? 'paused' : 'never read'} with ${sizeWords(stream)}`,
        ]
      : []),
    ...(writable
      ? [
          `writable side with ${writable.length} of ${writable.highWaterMark}${writable.needDrain ? ', needs to drain' : ''}${writable.ended ? ', ended' : ', not ended'}`,
        ]
      : []),
  ]
  return `a ${name}: ${words.join('; ')}`
}
