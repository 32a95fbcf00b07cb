import { leavesOf } from '../chains.ts'
import type { Frame, Handle, HangClass, HangFacts, Verdict } from '../facts.ts'
import { count, oneLine, quote, seconds, where } from '../words.ts'
import { circumstances, firstUser, siteOf } from './common.ts'

const NAME = 'leaked-handle-after-tests'

/**
 * The worker, or the process, does not end when its tests are over, no code of the user's stands at an await, and something
 * that the tests have opened keeps the event loop alive.
 */
export const leakedHandle: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.phase !== 'after-tests' || facts.loop !== 'idle' || leavesOf(facts).length > 0) return undefined
    const open = (facts.handles ?? []).filter((handle) => handle.ref)
    const known = open.flatMap((handle) => {
      const frame = firstUser(handle.created)
      return frame === undefined ? [] : [{ handle, frame }]
    })
    const first = known[0]
    if (first === undefined) return undefined
    return verdict(facts, first, known.slice(1), open.length - known.length)
  },
}

interface Known {
  handle: Handle
  frame: Frame
}

function verdict(facts: HangFacts, first: Known, others: readonly Known[], unknown: number): Verdict {
  const source = first.frame.source === undefined ? '' : ` by ${quote(first.frame.source)}`
  const more = others.length === 0 ? '' : `, and ${count(others.length, 'more handle')} of the tests' own`
  return {
    class: NAME,
    variant: first.handle.kind,
    // Nobody can prove that the event loop would end without it: an environment may hold it as well.
    confidence: unknown === 0 && others.length === 0 ? 'likely' : 'guess',
    diagnosis: `the worker has not stopped within ${seconds(facts.waitedMs, 1)} after its last test: ${things(first.handle)} is still open, made${source} at ${where(first.frame.site)}${more}.`,
    culprit: siteOf(first.frame),
    evidence: [
      ...[first, ...others]
        .slice(0, 6)
        .map(
          ({ handle, frame }) =>
            `${things(handle)}, open for ${seconds(handle.ageMs, 1)}, made at ${where(frame.site)}`,
        ),
      ...(unknown > 0 ? [`${count(unknown, 'more handle')} without a line of the user's`] : []),
      ...facts.kernel,
      ...circumstances(facts),
    ],
    hint: `close it in the test or in afterAll${first.handle.close === undefined ? '' : `: ${first.handle.close}`}`,
    ...((unknown > 0 || others.length > 0) && { alsoConsidered: ['unknown'] }),
    stack: [first.frame],
  }
}

function things({ kind, what }: Handle): string {
  return what === '' ? kind : `${kind} (${oneLine(what, 120)})`
}
