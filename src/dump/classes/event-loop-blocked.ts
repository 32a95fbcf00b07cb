import { awaitedIn } from '../awaited.ts'
import type { Frame, HangClass, HangFacts, Verdict } from '../facts.ts'
import { oneLine, quote, sameLine, seconds, subject, where } from '../words.ts'
import { circumstances, firstUser, named, siteOf, userStack } from './common.ts'

const NAME = 'event-loop-blocked'

/**
 * The thread does not answer: one synchronous call or an endless run of promise jobs keeps its event loop from turning.
 */
export const eventLoopBlocked: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.loop !== 'blocked') return undefined
    const frames = facts.sync?.frames ?? []
    if (facts.crumb?.call === 'Atomics.wait' || isAtomicsWait(firstUser(frames))) return atomics(facts)
    if (facts.sync !== null && frames.length > 0) {
      return facts.sync.microtasks === 'turning' ? microtasks(facts, facts.sync) : script(facts, facts.sync)
    }
    return facts.crumb !== null ? syscall(facts, facts.crumb) : native(facts)
  },
}

type Sync = NonNullable<HangFacts['sync']>

function isAtomicsWait(frame: Frame | undefined): boolean {
  return /\bAtomics\.wait\(/.test(frame?.source ?? '')
}

function verdict(facts: HangFacts, stack: readonly Frame[], rest: Omit<Verdict, 'class' | 'stack'>): Verdict {
  const culprit = firstUser(stack)
  return {
    class: NAME,
    ...(culprit && { culprit: siteOf(culprit) }),
    ...rest,
    evidence: [...rest.evidence, ...facts.kernel, ...circumstances(facts)],
    stack: userStack(stack),
  }
}

/** `` `while (!ready) {}` (test/a.test.ts:13:3) ``, or the function where no source is known. */
function place(frame: Frame | undefined, facts: HangFacts): string {
  if (frame === undefined) return subject(facts)
  return frame.source === undefined ? named(frame) : `${quote(frame.source)} (${where(frame.site)})`
}

const silent = (facts: HangFacts): string =>
  facts.phase === 'program'
    ? `the event loop has not turned in the ${seconds(facts.waitedMs, 1)} in which it was watched`
    : `the event loop has not turned in the ${seconds(facts.waitedMs, 1)} since ${began(facts)}`

function began(facts: HangFacts): string {
  return facts.phase === 'collect' ? `the import of ${facts.file.path} began` : `${subject(facts)} began`
}

/** So many frames of one function on the stack are a recursion. */
const RECURSION = 4

/**
 * In a recursion the thread is found at any line of the function; what they have in common is the line of the call to
 * itself, which most of its frames stand at.
 */
function recursion(frames: readonly Frame[]): Frame | undefined {
  const top = firstUser(frames)
  if (top === undefined) return undefined
  const same = frames.filter((frame) => frame.user && frame.fn === top.fn && frame.site.path === top.site.path)
  if (same.length < RECURSION) return undefined
  const calls = same.slice(1)
  const times = (frame: Frame): number => calls.filter((one) => sameLine(one.site, frame.site)).length
  return calls.reduce((most, frame) => (times(frame) > times(most) ? frame : most))
}

function script(facts: HangFacts, sync: Sync): Verdict {
  const recursing = recursion(sync.frames)
  const culprit = recursing ?? firstUser(sync.frames) ?? firstUser(sync.second)
  const second = firstUser(sync.second)
  const stack = firstUser(sync.frames) === undefined ? sync.second : sync.frames
  const evidence = [`the thread was stopped inside JavaScript, innermost ${named(sync.frames[0] as Frame)}`]
  if (sync.second.length > 0) {
    evidence.push(
      sameLine(second?.site, culprit?.site)
        ? 'a second look found it on the same line'
        : 'a second look found it still busy',
    )
  }
  if (sync.microtasks === 'still') evidence.push('no promise job ran between the two looks')
  if (recursing) evidence.push(`${named(recursing)} calls itself: most frames of the stack stand at that line`)
  return verdict(facts, stack, {
    variant: 'js',
    ...(recursing && { culprit: siteOf(recursing) }),
    confidence: sync.second.length > 0 && sync.microtasks === 'still' ? 'certain' : 'likely',
    diagnosis: `${place(culprit, facts)} keeps the thread busy without a pause: ${silent(facts)}, so no timer, promise or I/O callback can run, not even one that would end it.`,
    evidence,
    hint: isPattern(culprit)
      ? 'if it is a regular expression, nested quantifiers make it try every way to split the text; else bound the work or let the loop turn'
      : 'wait with a real await (an event, or setTimeout of node:timers/promises) instead of a loop, or bound the work',
  })
}

/** Calls that run a regular expression: the engine's own frames do not show on the stack. */
function isPattern(frame: Frame | undefined): boolean {
  return /\.(?:test|exec|match|matchAll|replace|replaceAll|search|split|toMatch)\(/.test(frame?.source ?? '')
}

function microtasks(facts: HangFacts, sync: Sync): Verdict {
  const stack = [...sync.frames, ...sync.second]
  const culprit = sync.turn ?? firstUser(stack)
  return verdict(facts, firstUser(sync.frames) === undefined ? sync.second : sync.frames, {
    variant: 'microtasks',
    ...(culprit && { culprit: siteOf(culprit) }),
    confidence: culprit === undefined ? 'likely' : 'certain',
    diagnosis: `${place(culprit, facts)} runs over and over from promise jobs or ticks, which keep the event loop away: what it waits for there is always ready at once, so no timer or I/O callback can run.`,
    evidence: [
      'a promise job queued at the first look ran before the second, so promise jobs do turn',
      `${silent(facts)}, so nothing else does`,
    ],
    hint: 'let the loop turn between the rounds: await setImmediate or setTimeout of node:timers/promises',
  })
}

function atomics(facts: HangFacts): Verdict {
  const frames = facts.sync?.frames ?? []
  const stack = firstUser(frames) === undefined ? (facts.crumb?.frames ?? []) : frames
  const culprit = firstUser(stack)
  const since = facts.crumb === null ? '' : ` for ${seconds(facts.crumb.sinceMs, 1)}`
  const evidence: string[] = []
  if (facts.crumb !== null)
    evidence.push(`Atomics.wait was entered${since === '' ? '' : ` and has not returned${since}`}`)
  if (frames.length > 0) evidence.push(`the thread was stopped inside it, ${named(frames[0] as Frame)}`)
  return verdict(facts, stack, {
    variant: 'atomics',
    confidence: evidence.length > 0 ? 'certain' : 'likely',
    diagnosis: `${isAtomicsWait(culprit) ? place(culprit, facts) : `Atomics.wait in ${place(culprit, facts)}`} has put the whole thread to sleep${since}: only another thread can call Atomics.notify, for no promise, timer or message callback can run on this one.`,
    evidence,
    hint: 'wait with Atomics.waitAsync or a message, or let another thread do the work that notifies',
  })
}

function syscall(facts: HangFacts, crumb: NonNullable<HangFacts['crumb']>): Verdict {
  const name = crumb.call.slice(crumb.call.lastIndexOf('.') + 1)
  const reason = facts.kernel[0]
  const culprit = firstUser(crumb.frames)
  const source = culprit === undefined ? undefined : awaitedIn(culprit)
  const evidence = [`${crumb.call} was entered ${seconds(crumb.sinceMs, 1)} before and has not returned`]
  if (source !== undefined) evidence.push(`called by ${quote(source)}`)
  const result = verdict(facts, crumb.frames, {
    variant: 'syscall',
    confidence: reason === undefined ? 'likely' : 'certain',
    diagnosis: `${name}(${shortDetail(crumb.detail)}) has not returned for ${seconds(crumb.sinceMs, 1)}: ${reason === undefined ? 'the thread waits in the system and runs no callback until it does' : ended(oneLine(reason))}.`,
    evidence,
    hint: crumb.call.startsWith('crypto.')
      ? `ask ${name} for less work, or use its asynchronous form, which computes in another thread`
      : `use the asynchronous form of ${name}: what it waits for may need this very thread`,
  })
  return result
}

/** The first words of a command line or a path: program texts after `-e` say little in a sentence. */
function shortDetail(detail: string): string {
  return oneLine(detail.replace(/\s+/g, ' ').replace(/^\S*\/(?=node(?: |$))/, ''), 100)
}

function native(facts: HangFacts): Verdict {
  if (facts.stackError) return unseen(facts, facts.stackError)
  const reason = facts.kernel[0]
  const idle = reason !== undefined && /\bidle\b/.test(reason)
  return verdict(facts, [], {
    variant: 'native',
    confidence: reason === undefined || idle ? 'guess' : 'likely',
    diagnosis: `${subject(facts)} keeps the thread inside native code${reason === undefined ? '' : `: ${ended(oneLine(reason))}`}; it ran no JavaScript that could be stopped, and ${silent(facts)}.`,
    evidence: [
      'no answer from the event loop',
      'no stack of JavaScript could be taken',
      'no watched synchronous call is open',
    ],
    hint: `look for a synchronous call into an addon, node:sqlite, crypto or zlib${facts.phase === 'program' ? '' : ' in this test'}`,
    ...((reason === undefined || idle) && { alsoConsidered: ['child-process-stuck', 'unknown'] }),
  })
}

/** Nobody could ask for the stack: whether JavaScript or native code keeps the thread is not known. */
function unseen(facts: HangFacts, why: string): Verdict {
  const reason = facts.kernel[0]
  return verdict(facts, [], {
    confidence: 'guess',
    diagnosis: `${subject(facts)} blocks the event loop: ${silent(facts)}${reason === undefined ? '' : ` (${ended(oneLine(reason))})`}; its stack could not be taken, because ${ended(oneLine(why))}.`,
    evidence: ['no answer from the event loop', 'no watched synchronous call is open'],
    hint: 'run it with --pool threads, where the stack is taken without a signal',
    alsoConsidered: ['unknown'],
  })
}

function ended(sentence: string): string {
  return sentence.replace(/[.\s]+$/, '')
}
