import type { HeldBy } from '../../inspect/facts.ts'
import type { WaitObject } from '../../inspect/wait-facts.ts'
import { awaitedAt, statement } from '../awaited.ts'
import { type Leaf, leavesOf, ownFrames } from '../chains.ts'
import type { Frame, HangClass, HangFacts, Verdict } from '../facts.ts'
import { readHolder } from '../holders.ts'
import { answering } from '../made-at.ts'
import { isOfTheRunner, isWaitingLine } from '../waiting-line.ts'
import { oneLine, sameLine, subject, where } from '../words.ts'
import { circumstances, firstUser, named, siteOf, userStack } from './common.ts'

const NAME = 'lost-promise'
/** Where a test or a hook waits; a file that never finishes loading has a class of its own. */
const PHASES = new Set(['test', 'hook', 'teardown'])
const OTHER = 'await-never-settles-with-live-resource'

/**
 * A promise that nothing can settle any more. It is garbage, and so is every function that waits for it: the test is
 * pending, yet the heap holds no suspended function of it. That absence is the evidence.
 */
export const lostPromise: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.loop !== 'idle' || !PHASES.has(facts.phase)) return undefined
    if (facts.awaits === null) return facts.lost?.proven === true ? absent(facts) : undefined
    if (facts.owner !== null && ownFrames(facts).length === 0) {
      // A function that is not async has no suspended state: its absence proves nothing.
      if (facts.body !== 'plain' || facts.lost?.proven === true) return absent(facts)
      const made = firstUser(facts.lost?.created)
      return made === undefined || firstUser(facts.lost?.awaited) !== undefined
        ? unemitted(facts)
        : returned(facts, made)
    }
    // Not to know who holds it is no sign that nobody does.
    if (facts.holders === 'unknown' && facts.lost?.proven !== true) return undefined
    const leaf = leavesOf(facts)[0]
    return leaf !== undefined &&
      ((leaf.below.length === 0 && (leaf.heldBy.every(isVariable) || forgotten(facts, leaf))) || silent(facts, leaf))
      ? unheld(facts, leaf)
      : undefined
  },
}

/** A resolver in a variable, outside of any list that somebody works off: only code that is not scheduled can call it. */
function isVariable(held: HeldBy): boolean {
  return held.owner === 'variable' && !/[[(]/.test(held.path) && readHolder(held).consider.includes(NAME)
}

/** What the worker itself keeps open. */
const OWN_HANDLES = /^(?:PipeWrap|TTYWrap|MessagePort|Immediate)$/

/** Traced again, and no lock: a resolver in a collection, and nothing is open whose answer could look for it there. */
function forgotten(facts: HangFacts, leaf: Leaf): boolean {
  const { lost, resources } = facts
  return (
    lost !== null &&
    resources !== null &&
    Object.keys(resources).every((type) => OWN_HANDLES.test(type)) &&
    answering(facts).length === 0 &&
    leaf.heldBy.every(isWaitingLine)
  )
}

/** Emitters of Node's own: the system itself makes them emit. */
const OF_NODE =
  /(?:Server|Socket|Stream|Process|Wrap|Watcher|Session)$|^(?:Worker|MessagePort|BroadcastChannel|ClientRequest|IncomingMessage|ServerResponse|Readable|Writable|Duplex|Transform|PassThrough|Interface|process|globalThis|fetch|module loader)$/

/** A class of the user's that is called like one of Node's, `FakeSocket`: no part of the system is behind it. */
function isStandIn({ name, asyncIds, stream, server, child, worker, socket, request, handle }: WaitObject): boolean {
  const parts = [stream, server, child, worker, socket, request, handle]
  return (
    /^(?!Client|Server|TLS|Http)\w+(?:Server|Socket)$/.test(name) &&
    asyncIds.length === 0 &&
    parts.every((one) => one === undefined)
  )
}

/** An emitter of the program's own, and nothing is open in the worker that could run the code which emits. */
function silent(facts: HangFacts, leaf: Leaf): boolean {
  const { resources, waitedFor } = facts
  if (resources === null || leaf.heldBy.length === 0) return false
  if (!Object.keys(resources).every((type) => OWN_HANDLES.test(type)) || answering(facts).length > 0) return false
  const emitters = new Set(leaf.heldBy.filter(({ event }) => event !== undefined).map(({ id }) => id))
  return leaf.heldBy.every((held) => {
    if (held.event === undefined && held.id !== undefined && emitters.has(held.id)) return true
    const object = waitedFor?.objects.find(({ id }) => id === held.id)
    if (held.event === undefined || held.fakeClock || held.behind) return false
    if (OF_NODE.test(held.owner) && !(object && isStandIn(object))) return false
    if (object?.stream !== undefined || object?.server !== undefined || object?.child !== undefined) return false
    // A signal with a time limit, or one that follows others, fires by itself.
    return held.owner !== 'AbortSignal' || object?.signal?.driven === false
  })
}

function absent(facts: HangFacts): Verdict {
  const { lost } = facts
  const awaited = firstUser(lost?.awaited)
  const created = firstUser(lost?.created)
  const proven = lost?.proven === true
  // A function that is not async has no suspended state: its absence says nothing.
  const blind =
    !proven && (facts.holders === 'unknown' || facts.body === 'plain' || (lost !== null && awaited === undefined))
  const evidence = proven
    ? ['in a second run with promises traced, the awaited promise was collected while pending']
    : []
  if (facts.awaits !== null) {
    evidence.push(
      'no suspended function of it is left in the heap, and whatever may still settle an await keeps its function alive',
    )
  }
  if (created !== undefined) evidence.push(`the promise was made by ${named(created)}`)
  if (facts.body === 'plain')
    evidence.push('it is not an async function, so it leaves no suspended function in any case')
  if (lost?.note !== undefined) evidence.push(oneLine(lost.note))

  const made =
    created === undefined || sameLine(created.site, awaited?.site)
      ? ''
      : `; it was made at ${where(created.site)}${statement(created) === undefined ? '' : ` by ${statement(created)}`}`
  const what =
    awaited === undefined
      ? `${subject(facts)} waits for a promise that nothing in the heap can settle any more: ${facts.body === 'plain' ? 'the promise that it returned is out of reach' : 'no suspended function of it is left, though what may still settle an await keeps it alive'}`
      : `${subject(facts)} waits at ${awaitedAt(awaited)} for a promise that nothing can settle any more${made}: whoever should call its resolve function is gone or never existed`
  return {
    class: NAME,
    confidence: proven && facts.awaits !== null ? 'certain' : blind ? 'guess' : 'likely',
    diagnosis: `${what}.`,
    ...(awaited && { culprit: siteOf(awaited) }),
    ...(awaited && created && !sameLine(created.site, awaited.site) && { holder: siteOf(created) }),
    evidence: [...evidence, ...circumstances(facts)],
    hint:
      awaited === undefined && lost === null
        ? 'run the test again alone with promises traced (harrow does so unless hang.lost is off): that names the lost await'
        : 'look for an event that came before somebody listened, a branch that returns without resolve, or a resolver that nobody calls',
    ...(blind && { alsoConsidered: [OTHER, 'unknown'] }),
    stack: userStack(lost?.awaited ?? []),
  }
}

/** A function that is not async returned a promise; run again, one that it made was collected while pending. */
function returned(facts: HangFacts, made: Frame): Verdict {
  return {
    class: NAME,
    confidence: 'likely',
    diagnosis: `${subject(facts)} returned a promise that nothing can settle any more: ${statement(made) ?? 'it'} made it at ${where(made.site)}, and whoever should call its resolve function is gone or never existed.`,
    culprit: siteOf(made),
    evidence: [
      'in a second run with promises traced, that promise was collected while pending, and no function of the test awaits another one',
      ...circumstances(facts),
    ],
    hint: 'look for an event that came before somebody listened, a branch that returns without resolve, or a callback that nobody calls',
    alsoConsidered: [OTHER],
    stack: userStack(facts.lost?.created ?? []),
  }
}

/** What it returned is held by emitters of the program's own, and nothing is open that could run the code which emits. */
function unemitted(facts: HangFacts): Verdict | undefined {
  const marks = (facts.awaits ?? []).filter((one) => !one.user && one.owner === facts.owner)
  const heldBy = marks.flatMap((one) => one.heldBy).filter((one) => !isOfTheRunner(one))
  const frame = marks[0]
  if (frame === undefined || !silent(facts, { frame, heldBy, below: [], chain: [] })) return undefined
  return {
    class: NAME,
    confidence: 'guess',
    diagnosis: `${subject(facts)} returned a promise that waits in ${oneLine(heldBy[0]!.path, 120)}, and nothing that is scheduled emits that.`,
    culprit: facts.file,
    evidence: [
      'its function is not async, so no line of it is suspended anywhere',
      ...heldBy.slice(0, 4).map((held) => `held by ${oneLine(held.path, 160)}`),
      ...circumstances(facts),
    ],
    hint: 'check that the event comes after somebody listens; in an async function that awaits it the line can be named',
    alsoConsidered: [OTHER],
    stack: [],
  }
}

/** The function is still reachable, but only from the program's own variables: nothing that runs by itself holds it. */
function unheld(facts: HangFacts, leaf: Leaf): Verdict | undefined {
  const variable = leaf.heldBy[0]
  const requests = Object.keys(facts.resources ?? {}).filter((type) => /Req/.test(type))
  // An open request of the system is held by native code, which a heap snapshot does not show.
  if (requests.length > 0) return undefined
  const proven = facts.lost?.proven === true && sameLine(firstUser(facts.lost.awaited)?.site, leaf.frame.site)
  const created = proven ? firstUser(facts.lost?.created) : undefined
  const apart = created !== undefined && !sameLine(created.site, leaf.frame.site)
  return {
    class: NAME,
    confidence: proven ? 'certain' : 'guess',
    diagnosis: `${subject(facts)} waits at ${awaitedAt(leaf.frame)} for a promise that no timer, socket, child or event holds: ${variable === undefined ? 'only code that is not scheduled any more could settle it' : `only the ${oneLine(variable.path, 120)} could settle it, and nothing that is scheduled calls it`}.`,
    culprit: siteOf(leaf.frame),
    ...(apart && { holder: siteOf(created) }),
    evidence: [
      'the await is alive, but nothing that runs by itself was found that leads to it',
      ...(apart ? [`the promise was made by ${named(created)}`] : []),
      ...(facts.lost?.note === undefined ? [] : [oneLine(facts.lost.note)]),
      ...circumstances(facts),
    ],
    hint: 'find out who should settle it: an event that came too early, a branch without resolve, a resolver that nobody calls',
    ...(!proven && { alsoConsidered: [OTHER] }),
    stack: userStack(leaf.chain),
  }
}
