import { awaitedAt, awaitedIn } from '../awaited.ts'
import { leavesOf } from '../chains.ts'
import type { HangClass, HangFacts, Verdict } from '../facts.ts'
import { bestHolder } from '../holders.ts'
import { madeAt } from '../made-at.ts'
import { threadAwaited } from '../others.ts'
import { isOfTheRunner } from '../waiting-line.ts'
import { list, oneLine, sameLine, subject } from '../words.ts'
import { circumstances, named, siteOf, userStack } from './common.ts'

const NAME = 'await-never-settles-with-live-resource'

/** An await whose promise could still be settled by something that is alive, and is not. */
export const awaitWithResource: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.loop !== 'idle') return undefined
    const leaves = leavesOf(facts)
    const leaf = leaves[0]
    if (leaf === undefined) return facts.body === 'plain' ? returned(facts) : undefined
    const holder = bestHolder(leaf.heldBy)
    const isFetch = /\bfetch\(/.test(awaitedIn(leaf.frame) ?? '')
    const requests = Object.keys(facts.resources ?? {}).filter((type) => /Req/.test(type))
    const live = holder?.live === true || (isFetch && leaf.heldBy.length + leaf.below.length > 0)
    const why =
      holder?.live !== true && isFetch
        ? 'the request was sent and no response has come'
        : (systemWords(facts, holder?.held.owner, requests) ??
          holder?.why ??
          (facts.holders === 'unknown'
            ? 'who holds it is not known, for the heap is too large for a snapshot'
            : requests.length > 0
              ? `the system has not answered (${list(requests)} open)`
              : 'who holds it was not found'))
    // `waits in fetch` says nothing that the quoted call does not say.
    const at =
      holder === undefined || holder.held.path === holder.held.owner
        ? ''
        : `it waits in ${oneLine(holder.held.path, 160)}, and `
    const made = madeAt(facts, leaf)
    const other = threadAwaited(facts, leaf)
    // A thread that is busy for ever is what is to be mended; one that waits may be as it should.
    const holderSite = [other?.thread.sync ? other.frame : undefined, made?.frame].find(
      (frame) => frame !== undefined && !sameLine(frame.site, leaf.frame.site),
    )
    const caller = leaf.chain[1]
    const others = leaves.slice(1, 5).map((one) => awaitedAt(one.frame))
    return {
      class: NAME,
      confidence: live ? 'likely' : 'guess',
      diagnosis: `${subject(facts)} waits at ${awaitedAt(leaf.frame)}${caller === undefined ? '' : `, called by ${awaitedAt(caller)}`}: ${at}${other === undefined ? why : `that thread sends nothing, for it ${other.words}`}${made === undefined ? '' : `: ${made.words}`}.`,
      culprit: siteOf(leaf.frame),
      ...(holderSite && { holder: siteOf(holderSite) }),
      evidence: [
        ...(other === undefined ? [] : [`${other.thread.label} ${other.words}`]),
        ...leaf.heldBy.slice(0, 4).map((held) => `held by ${oneLine(held.path, 160)}`),
        ...(leaf.frame.exact
          ? []
          : ['the line of the await itself was not resolved, the place is that of its function']),
        ...leaf.chain.slice(2, 5).map((frame) => `awaited by ${named(frame)}`),
        ...(others.length > 0 ? [`also waiting: ${list(others)}`] : []),
        ...circumstances(facts),
      ],
      ...(holder?.hint !== undefined && { hint: holder.hint }),
      ...(!live && { alsoConsidered: alternatives(holder?.consider) }),
      stack: userStack(leaf.chain),
    }
  },
}

/**
 * A function that is not async is suspended nowhere. The mark that stands above it in the await graph still says who holds
 * the promise that it returned.
 */
function returned(facts: HangFacts): Verdict | undefined {
  const marks = (facts.awaits ?? []).filter((one) => !one.user && one.owner === facts.owner)
  const heldBy = marks.flatMap((one) => one.heldBy).filter((one) => !isOfTheRunner(one))
  const holder = bestHolder(heldBy)
  if (holder?.live !== true) return undefined
  const made = madeAt(facts, { frame: marks[0]!, heldBy, below: [], chain: [] })
  return {
    class: NAME,
    confidence: 'likely',
    diagnosis: `${subject(facts)} returned a promise that waits in ${oneLine(holder.held.path, 160)}: ${holder.why}${made === undefined ? '' : `: ${made.words}`}.`,
    culprit: facts.file,
    ...(made && !sameLine(made.frame.site, facts.file) && { holder: siteOf(made.frame) }),
    evidence: [
      'its function is not async, so no line of it is suspended anywhere',
      ...heldBy.slice(0, 4).map((held) => `held by ${oneLine(held.path, 160)}`),
      ...circumstances(facts),
    ],
    hint: holder.hint ?? 'make the test function async and await the promise: then the line can be named',
    stack: [],
  }
}

/** Of the system; what a client asks a server for is another matter. */
const REQUEST = /^(?!(?:Client|Http)?Request$)\w*Req(?:uest)?(?:Promise|Callback|Wrap)?$|^FileHandle$/

/** What the kernel says of a call that the system has not answered: the thread of the pool that is in it. */
function systemWords(facts: HangFacts, owner: string | undefined, requests: readonly string[]): string | undefined {
  if (owner !== undefined ? !REQUEST.test(owner) : requests.length === 0) return undefined
  const names = owner === undefined ? requests : [owner, ...requests]
  const lookup = names.some((name) => /^(?:GetAddrInfo|GetNameInfo|QueryReq)/.test(name))
  const sentence = facts.kernel.find((one) =>
    lookup
      ? /getaddrinfo|name lookups/.test(one)
      : /threadpool is used up|\(libuv-worker\) is (?!on the CPU)/.test(one),
  )
  if (sentence === undefined) return undefined
  const open = requests.length === 0 ? '' : ` (${list(requests)} open)`
  return `the system has not answered${open}: ${oneLine(sentence, 240)}`
}

function alternatives(consider: string[] | undefined): string[] {
  return consider === undefined || consider.length === 0 ? ['lost-promise'] : consider
}
