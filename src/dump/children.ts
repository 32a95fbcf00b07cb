/** Which child process a hung await is about, where it was started, and why it does not do what is waited for. */
import type { ChildFact, PipeUser, StdioPart, StreamFact, WaitObject } from '../inspect/wait-facts.ts'
import { type Leaf, leavesOf } from './chains.ts'
import { firstUser } from './classes/common.ts'
import type { Frame, HangFacts } from './facts.ts'
import { isFull, isUnread } from './streams.ts'
import { list, oneLine, quote, seconds } from './words.ts'

/** A hung await on a child. */
export interface ChildWait {
  leaf: Leaf
  child: ChildFact
  /** Event that is waited for, e.g. `exit`; undefined when it is none of the child's own. */
  event?: string
  /** The wait is for a part of its stdio. */
  part?: StdioPart
}

/** Why the child does not do what is waited for. */
export interface ChildReason {
  class: 'child-process-stuck' | 'pipe-or-backpressure-deadlock' | 'signal-not-delivered'
  variant: string
  confidence: 'certain' | 'likely' | 'guess'
  /** A clause about the child, after `child 12 \`node x\``. */
  why: string
  hint: string
  evidence: string[]
}

/** The first of the hung section's awaits that is about a child. */
export function childWaitOf(facts: HangFacts): ChildWait | undefined {
  const waited = facts.waitedFor
  if (facts.loop !== 'idle' || waited === undefined) return undefined
  for (const leaf of leavesOf(facts)) {
    for (const held of leaf.heldBy) {
      const object = waited.objects.find(({ id }) => id === held.id)
      const wait = waitIn(leaf, held, object, waited.children)
      if (wait !== undefined) return wait
      const { behind } = held
      const other = waited.objects.find(({ id }) => id === behind?.id)
      const around = behind && waitIn(leaf, behind, other, waited.children)
      if (around !== undefined) return around
    }
  }
  return undefined
}

function waitIn(
  leaf: Leaf,
  held: { owner: string; event?: string },
  object: WaitObject | undefined,
  children: readonly ChildFact[],
): ChildWait | undefined {
  const event = held.event === undefined ? {} : { event: held.event }
  if (object?.child !== undefined) {
    const { pid, part } = object.child
    const child = children.find((one) => one.pid === pid)
    return child && { leaf, child, ...event, ...(part && { part }) }
  }
  // The object itself could not be looked at, but there is no choice.
  if (held.owner !== 'ChildProcess' || object !== undefined || children.length !== 1) return undefined
  return { leaf, child: children[0] as ChildFact, ...event }
}

/** The frame that started a child. */
export function startOf(facts: HangFacts, pid: number): Frame | undefined {
  return firstUser(facts.handles?.findLast((one) => one.pid === pid)?.created)
}

/** Where Node is installed says nothing. */
function shortCommand(command: string): string {
  return command.replace(/^\S*\/(?=node(?: |$))/, '')
}

/** ``child 12 `node x` `` */
export function childWords(child: ChildFact): string {
  return `child ${child.pid} ${quote(shortCommand(child.command))}`
}

const userWords = (user: PipeUser): string => `${user.pid} ${quote(shortCommand(user.command))}`

/** Why this child does not do what is waited for. */
export function reasonOf(facts: HangFacts, wait: ChildWait): ChildReason {
  const { child } = wait
  if (child.exitCode !== null || child.signalCode !== null) return ended(facts, wait)
  return (
    unheard(facts, wait) ??
    standing(wait) ??
    fullOutput(wait) ??
    fullInput(wait) ??
    openInput(wait) ??
    openChannel(wait) ??
    busy(wait)
  )
}

/** The child is gone, but what is waited for needs more than that. */
function ended(facts: HangFacts, { child, event, part }: ChildWait): ChildReason {
  const how = child.signalCode === null ? `with code ${child.exitCode}` : `by ${child.signalCode}`
  const open = child.stdio.filter((one) => one.part !== 'stdin' && !one.stream.closed)
  const names = list(open.map((one) => one.part))
  const keepers = child.users.filter((user) => user.part !== 'stdin' && user.part !== 'ipc')
  const paused = open.find((one) => isUnread(one.stream))
  const evidence = [
    `the child has ended ${how}`,
    ...keepers.map((user) => `${user.part} is open in ${userWords(user)}`),
  ]
  if (keepers.length === 0 && paused !== undefined && (event === 'close' || part === paused.part)) {
    return {
      class: 'pipe-or-backpressure-deadlock',
      variant: `unread-${paused.part}`,
      confidence: 'likely',
      why: `has exited ${how}, but its ${paused.part} still holds data that nobody reads, and 'close' comes only after the last of it`,
      hint: `read child.${paused.part} to its end (resume() throws the data away), or start the child with stdio 'ignore'`,
      evidence,
    }
  }
  if (open.length === 0) {
    return {
      class: 'child-process-stuck',
      variant: 'gone',
      confidence: 'likely',
      why: `has exited ${how} without it`,
      hint: "listen for 'exit' and 'error' too, so that the end of the child ends the wait",
      evidence,
    }
  }
  const by = [...new Set(keepers.map(userWords))]
  const who = by.length === 0 ? 'another process, probably one that it started,' : list(by)
  const holds = `${names} ${open.length === 1 ? 'is' : 'are'} closed too, and ${who} still ${by.length > 1 ? 'hold' : 'holds'} ${open.length === 1 ? 'it' : 'them'} open`
  const sent = child.signalCode !== null && signalsTo(facts, child).length > 0
  return {
    class: sent ? 'signal-not-delivered' : 'child-process-stuck',
    variant: sent ? 'descendant-not-reached' : 'output-held',
    confidence: by.length === 0 ? 'likely' : 'certain',
    why: `has exited ${how}${sent ? ', which reached only the child itself' : ''}, but ${event === undefined || part !== undefined ? 'its output ends' : `'${event}' comes`} only when its ${holds}`,
    hint: sent
      ? 'start it with detached: true and signal the whole group (process.kill(-child.pid)), or let it run the program itself instead of a shell'
      : "wait for 'exit' instead of 'close', or give what it leaves behind an output of its own (stdio 'ignore', > /dev/null)",
    evidence,
  }
}

/** Signals that stop or wake a process and end nothing. */
const NO_END = new Set(['SIGSTOP', 'SIGCONT', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU'])

/** Names of signals that the worker sent to a child or to its group, oldest first. */
function signalsTo(facts: HangFacts, child: ChildFact): string[] {
  const noted = (facts.waitedFor?.signals ?? []).filter(({ pid }) => pid === child.pid || pid === -child.pid)
  return [...new Set(noted.map(({ signal }) => signal))]
}

/** A signal was sent, and the child goes on. */
function unheard(facts: HangFacts, { child }: ChildWait): ChildReason | undefined {
  const { kernel } = child
  const noted = signalsTo(facts, child).filter((name) => !NO_END.has(name))
  const anySent = signalsTo(facts, child).length > 0
  // Without a note of the call only `killed` tells that there was one; it is SIGTERM unless somebody asked for another.
  if (noted.length === 0 && (anySent || !child.killed)) return undefined
  const name = noted.at(-1) ?? 'SIGTERM'
  const did = ((): string => {
    if (kernel === null) return 'is still there'
    if (kernel.state === 'T' || kernel.state === 't')
      return 'is stopped, so that the signal waits until it is continued'
    if (kernel.state === 'D') return 'is in an uninterruptible system call, so that the signal has to wait'
    if (kernel.blocked.includes(name)) return 'blocks that signal'
    if (kernel.ignored.includes(name)) return 'ignores that signal'
    if (kernel.pending.includes(name)) return 'has not looked at it yet'
    if (kernel.caught.includes(name)) return 'handles that signal itself and goes on running'
    return 'is still there'
  })()
  const call = (facts.waitedFor?.signals ?? []).findLast(
    ({ pid, signal }) => Math.abs(pid) === child.pid && signal === name,
  )
  const at = firstUser(call?.frames)
  return {
    class: 'signal-not-delivered',
    variant:
      kernel?.state === 'T'
        ? 'stopped'
        : kernel?.ignored.includes(name)
          ? 'ignored'
          : kernel?.blocked.includes(name)
            ? 'blocked'
            : 'handled',
    confidence: kernel === null || (noted.length === 0 && !kernel.caught.includes(name)) ? 'likely' : 'certain',
    why: `was sent ${name}${at === undefined ? '' : ` (${at.site.path}:${at.site.line})`} and did not exit: it ${did}`,
    hint:
      kernel?.state === 'T'
        ? 'continue it first (SIGCONT), or end it with SIGKILL, which needs no turn of its own'
        : 'let its handler end the process, or send SIGKILL when it has not ended after a while',
    evidence: [`${name} was sent to it`, ...doing(child)],
  }
}

/** Stopped, or dead and not collected. */
function standing({ child }: ChildWait): ChildReason | undefined {
  const state = child.kernel?.state
  if (state !== 'T' && state !== 't' && state !== 'Z') return undefined
  return {
    class: 'child-process-stuck',
    variant: state === 'Z' ? 'zombie' : 'stopped',
    confidence: 'certain',
    why:
      state === 'Z'
        ? 'has ended, but its end has not been collected'
        : `is ${state === 'T' ? 'stopped by a signal' : 'held by a debugger'} and does nothing until it is continued`,
    hint:
      state === 'Z'
        ? 'see who else waits for children of this process'
        : 'continue it with SIGCONT, or end it with SIGKILL',
    evidence: doing(child),
  }
}

/** Somebody below writes to a stdout or stderr that nobody reads. */
function fullOutput({ child, part }: ChildWait): ChildReason | undefined {
  const writers = child.users.filter((user) => user.does === 'write' && user.part !== 'stdin')
  for (const writer of writers) {
    const ours = child.stdio.find((one) => one.part === writer.part)
    if (ours === undefined) continue
    const unread = isUnread(ours.stream) || isFull(ours.stream)
    // What flows may stand still for a moment only.
    if (!unread && ours.stream.into === undefined) continue
    const itself = writer.pid === child.pid ? 'it' : userWords(writer)
    const reading = ours.stream.into === undefined ? 'nobody reads it' : 'what it is piped into takes no more'
    return {
      class: 'pipe-or-backpressure-deadlock',
      variant: `full-${writer.part}`,
      confidence: 'certain',
      why: `cannot go on: ${itself} is writing to ${writer.part}, that pipe is full, and ${reading}${part === 'stdin' ? ' while its stdin is being written' : ''}`,
      hint: `read child.${writer.part} (a 'data' listener or resume()) before waiting, or start the child with stdio 'ignore' or 'inherit'`,
      evidence: [`${writer.part} is full: ${bufferWords(ours.stream)}`, ...doing(child)],
    }
  }
  return undefined
}

/** We write into its stdin faster than it reads. */
function fullInput({ child, part, event }: ChildWait): ChildReason | undefined {
  const stdin = child.stdio.find((one) => one.part === (part ?? 'stdin'))?.stream
  const writes = stdin?.writable
  if (part === undefined || writes === undefined || part === 'stdout' || part === 'stderr') return undefined
  if (!(writes.length > 0) || !(writes.needDrain || event === 'finish' || event === 'drain' || event === undefined))
    return undefined
  return {
    class: 'pipe-or-backpressure-deadlock',
    variant: `full-${part}`,
    confidence: 'likely',
    why: `does not read its ${part}: ${writes.length} bytes wait to be written, and the pipe is full`,
    hint: 'see what the child does instead of reading; when it writes output, read that first',
    evidence: doing(child),
  }
}

function openInput({ child }: ChildWait): ChildReason | undefined {
  const stdin = child.stdio.find((one) => one.part === 'stdin')?.stream
  if (stdin?.writable === undefined || stdin.writable.ended || stdin.destroyed) return undefined
  const reader = child.users.find((user) => user.part === 'stdin' && user.does === 'read')
  const known = child.kernel !== null
  if (known && reader === undefined) return undefined
  const who = reader === undefined || reader.pid === child.pid ? 'it' : userWords(reader)
  return {
    class: 'child-process-stuck',
    variant: 'stdin-open',
    confidence: known && child.kernel?.cpuMs === 0 ? 'certain' : 'likely',
    why: `waits for more input: ${known ? `${who} reads stdin` : 'its stdin is a pipe'}, and child.stdin was never ended, so it does not exit`,
    hint: "call child.stdin.end() after the last write, or start the child with stdin 'ignore'",
    evidence: ['child.stdin is open and not ended', ...doing(child)],
  }
}

function openChannel({ child, event }: ChildWait): ChildReason | undefined {
  if (!child.connected) return undefined
  const idle =
    child.kernel === null ||
    (child.kernel.state === 'S' && /event loop|^blocked in epoll/.test(child.kernel.doing ?? ''))
  if (!idle) return undefined
  const waitsForEnd = event === 'exit' || event === 'close' || event === 'disconnect' || event === undefined
  return {
    class: 'child-process-stuck',
    variant: 'ipc-open',
    confidence: child.kernel === null ? 'guess' : 'likely',
    why: waitsForEnd
      ? 'is idle, but its IPC channel to us is open, and a channel that somebody listens to keeps a process alive: it does not exit before one side disconnects'
      : `is idle with its IPC channel open, and has not sent what is waited for ('${event ?? 'message'}')`,
    hint: waitsForEnd
      ? 'call child.disconnect() when the last message is through, or process.exit() in the child'
      : 'see that the child answers every message, and listen for its exit and error as well',
    evidence: ['the channel is connected', ...doing(child)],
  }
}

function busy({ child, event, part }: ChildWait): ChildReason {
  const { kernel } = child
  const wanted =
    part !== undefined ? `${part} does not end` : event === 'message' ? 'it has sent nothing' : 'it does not exit'
  const cpu = kernel === null || kernel.spanMs === 0 ? 0 : kernel.cpuMs / kernel.spanMs
  const what =
    kernel === null
      ? ''
      : cpu > 0.5
        ? `: it computes (${Math.round(100 * cpu)} % of a CPU)`
        : `: it is ${oneLine(kernel.doing ?? 'asleep', 160)}`
  return {
    class: 'child-process-stuck',
    variant: cpu > 0.5 ? 'busy' : 'waiting',
    confidence: kernel === null ? 'guess' : 'likely',
    why: `is alive and ${wanted}${what}`,
    hint: 'see what the child itself waits for, and give the wait a deadline after which the child is killed',
    evidence: doing(child),
  }
}

function doing(child: ChildFact): string[] {
  const { kernel } = child
  if (kernel === null) return []
  const cpu = kernel.spanMs > 0 ? `, ${Math.round(kernel.cpuMs)} ms of CPU within ${seconds(kernel.spanMs, 1)}` : ''
  return [`the child is ${oneLine(kernel.doing ?? `in state ${kernel.state}`, 200)}${cpu}`]
}

function bufferWords({ readable }: StreamFact): string {
  if (readable === undefined) return 'it cannot be read'
  const how = readable.flowing === false ? 'paused' : 'never read'
  return `our end is ${how}, with ${readable.length} bytes waiting in it`
}
