/**
 * What a process is doing, in one sentence. A program that runs is no hang: beside the hang classes, which need proof here,
 * there are `idle` (waits for something from outside), `waiting` (functions are suspended), `running`, `stopped`, `ended`.
 */
import { awaitedAt } from '../dump/awaited.ts'
import { leavesOf } from '../dump/chains.ts'
import { firstUser, siteOf, userStack } from '../dump/classes/common.ts'
import { eventLoopBlocked } from '../dump/classes/event-loop-blocked.ts'
import { classify } from '../dump/classify.ts'
import type { Frame, HangFacts, Verdict } from '../dump/facts.ts'
import { bestHolder } from '../dump/holders.ts'
import { count, list, oneLine, quote, where } from '../dump/words.ts'
import type { ProcessFacts, ThreadLook } from './facts.ts'

/** Groups of suspended functions that the sentence names. */
const MOST_NAMED = 3
const MOST_EVIDENCE = 8

/** A thread with its facts after source maps. */
export interface JudgedThread {
  look: ThreadLook
  facts: HangFacts
  hot: Frame[]
}

/** @param threads the main thread first; empty when nothing was seen from inside */
export function judgeProgram(facts: ProcessFacts, threads: readonly JudgedThread[], outside: HangFacts): Verdict {
  const main = threads[0]
  const workers = threads.slice(1).map(workerLine)
  const verdict = main === undefined ? fromOutside(facts, outside) : fromInside(facts, main, threads.slice(1))
  const busy = threads
    .slice(1)
    .filter(({ look }) => look.state === 'blocked')
    .map(({ facts: own }) => blockedAt(own))
  return {
    ...verdict,
    ...(busy.length > 0 && { diagnosis: `${verdict.diagnosis.replace(/\.$/, '')}; ${list(busy)}.` }),
    evidence: [...verdict.evidence, ...workers].slice(0, MOST_EVIDENCE),
  }
}

type Said = Pick<Verdict, 'class' | 'confidence' | 'diagnosis'> & Partial<Verdict>

function said(verdict: Said): Verdict {
  return { evidence: [], stack: [], ...verdict }
}

/** ``worker 2 "job" is blocked at `for (;;) {}` (job.js:3:1)`` */
function blockedAt({ file, sync }: HangFacts): string {
  const at = firstUser(sync?.frames)
  return `${file.path} keeps its thread busy${at === undefined ? '' : ` at ${place(at)}`}`
}

function place(frame: Frame): string {
  return frame.source === undefined ? where(frame.site) : `${quote(frame.source)} (${where(frame.site)})`
}

function workerLine({ look, facts }: JudgedThread): string {
  const name = oneLine(facts.file.path, 60)
  if (look.state === 'native') return `${name} does not answer: a system call or native code has it`
  if (look.state !== 'idle') return `${name} is ${look.state}`
  const waiting = suspendedIn(facts)
  return `${name} is idle${waiting === 0 ? '' : `, ${count(waiting, 'suspended function')}`}`
}

function suspendedIn(facts: HangFacts): number {
  return (facts.awaits ?? []).filter((one) => one.user).reduce((sum, one) => sum + (one.count ?? 1), 0)
}

/** Nobody inside was asked: the kernel is the witness. */
function fromOutside({ outside, closed, ended }: ProcessFacts, facts: HangFacts): Verdict {
  const who = `process ${outside.pid}`
  const main = (outside.kernel[0] ?? '').replace(/^main thread /, '')
  const why = closed === null ? '' : oneLine(closed)
  if (outside.state === 'Z' || outside.state === 'X' || ended) {
    const diagnosis =
      outside.state === 'Z'
        ? `${who} ${main || 'has ended, and its parent has not collected it'}.`
        : `${who} ended while it was looked at.`
    return said({
      class: 'ended',
      confidence: 'certain',
      diagnosis,
      hint: 'look at its exit code and at what its parent does',
    })
  }
  if (outside.state === 'T' || outside.state === 't') {
    return said({
      class: 'stopped',
      confidence: 'certain',
      diagnosis: `${who} ${main || 'is stopped'}: it does nothing until it is continued.`,
      hint: outside.state === 'T' ? `kill -CONT ${outside.pid}` : 'see the debugger that holds it',
    })
  }
  const inCall =
    /^(?:is )?(?:probably )?(?:inside|blocked in|in uninterruptible)|^is (?:probably )?(?:inside|blocked in|in uninterruptible)/
  if (outside.isNode && inCall.test(main) && !/futex/.test(main)) {
    return said({
      class: 'event-loop-blocked',
      variant: 'syscall',
      confidence: /stuck: unchanged/.test(main) ? 'likely' : 'guess',
      diagnosis: `${who} runs no JavaScript: its main thread ${oneLine(main, 400)}, so no timer, promise or I/O callback can run.`,
      evidence: outside.kernel.slice(1),
      hint: 'use the asynchronous form of the call: what it waits for may need this very thread',
    })
  }
  return said({
    class: 'unknown',
    confidence: 'guess',
    diagnosis: `${who} was not looked into${why === '' ? '' : `: ${why}`}${main === '' ? '' : `; its main thread ${oneLine(main, 300)}`}.`,
    evidence: [...outside.kernel.slice(1), ...facts.missing.slice(0, 2)],
    alsoConsidered: [],
  })
}

function fromInside(facts: ProcessFacts, main: JudgedThread, workers: readonly JudgedThread[]): Verdict {
  const { look } = main
  if (look.state === 'paused') return paused(main)
  if (look.state === 'blocked' || look.state === 'native') {
    return eventLoopBlocked.judge(main.facts) ?? fromOutside(facts, main.facts)
  }
  const proven = classify(main.facts)
  if (proven.confidence === 'certain') return proven
  if (suspendedIn(main.facts) > 0) return waiting(facts, main, main)
  const worker = workers.find((one) => one.look.state === 'idle' && suspendedIn(one.facts) > 0)
  return worker === undefined ? idle(facts, main) : waiting(facts, main, worker)
}

function paused({ facts }: JudgedThread): Verdict {
  const at = firstUser(facts.sync?.frames)
  return said({
    class: 'stopped',
    variant: 'debugger',
    confidence: 'certain',
    diagnosis: `process ${facts.pid} is held by a debugger${at === undefined ? '' : ` at ${place(at)}`}.`,
    ...(at && { culprit: siteOf(at) }),
    hint: 'resume it in the debugger that is connected',
    stack: userStack(facts.sync?.frames ?? []),
  })
}

/** A loop that turns may all the same be what uses the CPU. */
function busyWords({ outside }: ProcessFacts, { hot }: JudgedThread): string | undefined {
  const top = firstUser(hot)
  if (top === undefined) return undefined
  return `uses ${outside.cpuPercent} % of a CPU, most often in ${top.fn.startsWith('<') ? '' : `${top.fn}() at `}${place(top)}`
}

interface Group {
  frame: Frame
  why: string | undefined
  hint: string | undefined
  path: string | undefined
  count: number
}

function groupsOf(facts: HangFacts): Group[] {
  const groups = new Map<string, Group>()
  for (const leaf of leavesOf(facts)) {
    const holder = bestHolder(leaf.heldBy)
    const key = `${where(leaf.frame.site)} ${leaf.frame.exact}`
    const known = groups.get(key)
    const more = leaf.frame.count ?? 1
    if (known === undefined) {
      groups.set(key, { frame: leaf.frame, why: holder?.why, hint: holder?.hint, path: holder?.held.path, count: more })
    } else {
      known.count += more
      known.why ??= holder?.why
      known.path ??= holder?.held.path
    }
  }
  return [...groups.values()].sort((a, b) => b.count - a.count)
}

/** @param thread whose functions are suspended */
function waiting(facts: ProcessFacts, main: JudgedThread, thread: JudgedThread): Verdict {
  const groups = groupsOf(thread.facts)
  const total = suspendedIn(thread.facts)
  const of = thread === main ? '' : ` of ${oneLine(thread.facts.file.path, 60)}`
  const keeps = thread === main ? '' : keepsWords(main)
  const first = groups[0]
  const busy = busyWords(facts, main)
  const named = groups.slice(0, MOST_NAMED).map((group) => {
    const times = group.count > 1 ? `${group.count} at ` : ''
    const held = group.path === undefined ? '' : ` (in ${oneLine(group.path, 80)})`
    return `${times}${awaitedAt(group.frame)}${held}`
  })
  const rest = groups.length - MOST_NAMED
  const more = rest > 0 ? `, and at ${count(rest, 'other place')}` : ''
  return said({
    class: busy === undefined ? 'waiting' : 'running',
    confidence: 'certain',
    diagnosis: `process ${main.facts.pid} ${busy === undefined ? 'turns its event loop and runs nothing' : `turns its event loop and ${busy}`}; ${count(total, 'function')}${of} ${total === 1 ? 'is' : 'are'} suspended: ${list(named)}${more}${keeps}.`,
    ...(first && { culprit: siteOf(first.frame) }),
    evidence: groups
      .slice(0, MOST_NAMED)
      .flatMap(({ why, frame, path }) =>
        why === undefined || path === undefined ? [] : [`${where(frame.site)}: ${why}`],
      ),
    ...(first?.hint !== undefined && groups.length === 1 && { hint: first.hint }),
  })
}

function idle(facts: ProcessFacts, main: JudgedThread): Verdict {
  const { look } = main
  const busy = busyWords(facts, main)
  const blind =
    look.async === null ? ' its suspended functions could not be read' : ' no function of the program is suspended'
  return said({
    class: busy === undefined ? 'idle' : 'running',
    confidence: look.async === null ? 'likely' : 'certain',
    diagnosis: `process ${main.facts.pid} ${busy === undefined ? 'is idle: its event loop turns,' : `turns its event loop and ${busy};`}${blind}${keepsWords(main)}.`,
  })
}

const NAMES: Record<string, string> = {
  Timeout: 'timer',
  TCPServerWrap: 'Server',
  PipeWrap: 'Pipe',
  TCPSocketWrap: 'Socket',
}

function keepsWords({ look }: JudgedThread): string {
  const keeps = keepsAlive(look)
  return keeps.length === 0 ? '' : `; ${keeps.length === 1 ? 'this keeps' : 'these keep'} it alive: ${list(keeps)}`
}

/** `Server 127.0.0.1:4173`, `2 timers`. */
function keepsAlive({ resources }: ThreadLook): string[] {
  if (resources === null) return []
  const handles = resources.list.filter((one) => one.ref && !/^(?:stdin|stdout|stderr|fd [012])$/.test(one.what))
  const words = handles.slice(0, 4).map(({ type, what }) => oneLine(`${type} ${what}`.trim(), 80))
  const timers = resources.counts.Timeout ?? 0
  if (handles.length > 4) words.push(count(handles.length - 4, 'other handle'))
  if (timers > 0) words.push(count(timers, NAMES.Timeout ?? 'timer'))
  return words
}
