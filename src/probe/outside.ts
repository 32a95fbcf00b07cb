/** A process from outside: whose it is, what the kernel says, and whether it can be looked into. */
import { userInfo } from 'node:os'
import { UsageError } from '../errors.ts'
import type { ProcessFact } from '../inspect/facts.ts'
import { explainStuck } from '../inspect/kernel-wait.ts'
import { isNodeProcess } from '../inspect/other-process.ts'
import { listProcesses, type ProcessRow } from '../process/list.ts'
import { available, linkTarget, readCommand, readOwner, readText, threadsOf } from '../process/procfs.ts'
import { descendantPids, sampleProcesses } from '../process/tree.ts'
import { usageOf } from '../process/usage.ts'
import type { OutsideLook } from './facts.ts'

const SAMPLE_MS = 250
const MOST_PROCESSES = 60
const COMMAND_LENGTH = 160

/**
 * A process that may be looked at.
 *
 * @throws {UsageError} when there is no such process, or it belongs to another user
 */
export async function permitted(pid: number): Promise<ProcessRow> {
  const rows = await listProcesses()
  const row = rows.find((one) => one.pid === pid)
  if (row === undefined) {
    const thread = available() && readOwner(pid) !== undefined
    throw new UsageError(`there is no process ${pid}${thread ? ': it is the id of a thread' : ''}`)
  }
  const own = process.getuid?.()
  if (own !== undefined && own !== 0 && row.uid !== null && row.uid !== own) {
    throw new UsageError(
      `process ${pid} \`${row.command}\` belongs to user ${row.uid}, and you are ${userName(own)}: only its owner or root may look into it`,
    )
  }
  return row
}

function userName(uid: number): string {
  try {
    return `${userInfo().username} (${uid})`
  } catch {
    // No entry in the list of users.
    return `user ${uid}`
  }
}

/** Looks at a process and its descendants for a moment, about 0.3 s. */
export async function lookFromOutside(row: ProcessRow): Promise<OutsideLook> {
  const { pid } = row
  const [kernel, processes, usage] = await Promise.all([explainStuck(pid), processesOf(pid), usageFor(row)])
  const own = processes.find((one) => one.pid === pid)
  return {
    pid,
    ppid: own?.ppid ?? row.ppid,
    command: oneLine(readCommand(pid)) ?? row.command,
    isNode: isNode(row),
    cwd: linkTarget(`/proc/${pid}/cwd`) ?? null,
    uid: row.uid,
    state: own?.state ?? row.state,
    cpuPercent: own?.cpuPercent ?? usage,
    rssBytes: own?.rssBytes ?? row.rssBytes,
    ageMs: own?.ageMs ?? row.ageMs,
    kernel,
    processes,
  }
}

function oneLine(command: string | undefined): string | undefined {
  const text = command?.replace(/\s+/g, ' ').trim()
  return text ? (text.length > COMMAND_LENGTH ? `${text.slice(0, COMMAND_LENGTH - 1)}…` : text) : undefined
}

function processesOf(pid: number): Promise<ProcessFact[]> {
  return available()
    ? sampleProcesses([pid, ...descendantPids(pid)].slice(0, MOST_PROCESSES), SAMPLE_MS)
    : Promise.resolve([])
}

async function usageFor({ pid }: ProcessRow): Promise<number | null> {
  return available() ? null : ((await usageOf([pid], SAMPLE_MS)).get(pid)?.cpuPercent ?? null)
}

/** Is it a Node process? By its program, or by the thread that every Node from 24 on has; off Linux by its command. */
export function isNode(row: ProcessRow): boolean {
  if (!available()) return /(?:^|[/\\])node(?:js)?(?:\.exe)?(?:\s|$)/.test(row.command)
  return isNodeProcess(row.pid) || threadNames(row.pid).includes('SignalInspector')
}

function threadNames(pid: number): string[] {
  return threadsOf(pid).map((tid) => readText(`/proc/${pid}/task/${tid}/comm`)?.trim() ?? '')
}

/**
 * Why a process cannot be asked anything now, one clause; undefined when it can. SIGUSR1 is only worth sending to a thread
 * that will run: the inspector would start much later otherwise, when nobody is there to close it.
 */
export function obstacle(row: ProcessRow, { state, kernel, isNode }: OutsideLook): string | undefined {
  const { pid } = row
  if (state === 'Z' || state === 'X') return 'it has ended'
  if (pid === process.pid) return 'it is the process that looks'
  if (!isNode) return 'it is no Node process'
  if (state === 'T') return 'it is stopped by a signal (SIGCONT lets it go on)'
  if (state === 't') return 'it is held by a debugger of the system'
  if (!available()) return undefined
  if (linkTarget(`/proc/${pid}/ns/net`) !== linkTarget('/proc/self/ns/net')) {
    return 'it is in another network namespace (a container), where its inspector cannot be reached: run harrow in there'
  }
  const main = kernel[0] ?? ''
  if (waitsForDebugger(pid) && /^main thread is blocked in futex/.test(main)) {
    return 'it was started with --inspect-brk or --inspect-wait, and a client that comes and goes would spoil its wait for a debugger'
  }
  if (main === '' || /^main thread is (?:idle in its event loop|on the CPU|blocked in futex)/.test(main))
    return undefined
  // It moved between two looks, so it will come back to JavaScript.
  if (!/stuck: unchanged/.test(main) && !/inside spawnSync/.test(main)) return undefined
  return 'its main thread is in a system call, where no inspector starts'
}

function waitsForDebugger(pid: number): boolean {
  return /--(?:inspect|debug)-(?:brk|wait)\b/.test(readCommand(pid) ?? '')
}
