/** Takes everything about one process: from outside first, then over its inspector, which is closed again. */
import { ProbeError } from '../errors.ts'
import { type AttachedProcess, attachProcess } from '../inspect/attach-process.ts'
import { pause } from '../inspect/client.ts'
import { portOf } from '../inspect/other-process.ts'
import { processWords } from '../process/descriptors.ts'
import { isRunning, type ProcessIdentity, signalProcess } from '../process/identity.ts'
import type { ProcessRow } from '../process/list.ts'
import { type Listener, listenersOn } from '../process/listeners.ts'
import { PF_EXITING, readStat, readText } from '../process/procfs.ts'
import type { ProcessFacts } from './facts.ts'
import { blankFacts, lookAtThreads, type ThreadsOptions } from './look-at-threads.ts'
import { lookFromOutside, obstacle, permitted } from './outside.ts'
import { Scripts } from './scripts.ts'

/** Options of {@link lookIntoProcess}. */
export interface DumpProcessOptions extends ThreadsOptions {
  /** Never send SIGUSR1: only an inspector that is open already is used. */
  noSignal?: boolean
}

const ATTACH_MS = 3000
const LATE = /did not start within/
/** How long another process may hold the port of the inspector. */
const PORT_MS = 2000
const PORT_POLL_MS = 100
/**
 * From the end of its connections until a process counts as ended: it closes its files thread by thread, first its memory is
 * given back, and for as long as one thread is at it the system shows it as running.
 */
const ENDING_MS = 5000
const ENDING_POLL_MS = 10

/**
 * Looks at a process from outside and, where it is a Node process that answers, from inside. The process goes on as before.
 *
 * @throws {UsageError} when there is no such process or it belongs to another user
 */
export async function lookIntoProcess(
  pid: number,
  options: DumpProcessOptions = {},
): Promise<{ facts: ProcessFacts; scripts: Scripts }> {
  const began = performance.now()
  const at = new Date().toISOString()
  const row = await permitted(pid)
  options.step?.('process')
  const outside = await lookFromOutside(row)
  const facts: ProcessFacts = { ...blankFacts(outside, at), closed: obstacle(row, outside) ?? null }
  const scripts = new Scripts()
  const lost = facts.closed === null && (await lookInside(row, facts, scripts, options))
  facts.ended = row.id !== null && (await hasEnded(row.id, lost))
  facts.tookMs = performance.now() - began
  return { facts, scripts }
}

/** @returns whether the connection broke from its side */
async function lookInside(
  row: ProcessRow,
  facts: ProcessFacts,
  scripts: Scripts,
  options: DumpProcessOptions,
): Promise<boolean> {
  const { pid } = row
  options.step?.('attach')
  const holder = await portHolder(pid)
  let client: AttachedProcess
  try {
    client = await attachProcess(pid, {
      deadlineMs: ATTACH_MS,
      openOnly: options.noSignal === true || holder !== undefined,
      ...(row.id !== null && { send: () => signalProcess(row.id!, 'SIGUSR1') }),
    })
  } catch (error) {
    facts.closed = whyClosed(error, holder, options)
    if (LATE.test(messageOf(error))) {
      facts.notes.push('it was sent SIGUSR1: an inspector that it opens for that later stays open, on 127.0.0.1 only')
    }
    return false
  }
  facts.wasOpen = client.wasOpen
  facts.debugged = (client.others ?? 0) > 0
  let lost = false
  try {
    await checkPid(client, pid)
    await lookAtThreads(client, facts, scripts, options)
  } catch (error) {
    facts.closed = messageOf(error)
  } finally {
    // Asked before it is closed from here.
    lost = client.lost()
    await client.close()
  }
  if (client.leftOpen())
    facts.notes.push(`its inspector at ${client.address} stays open: another client has come to it`)
  return lost
}

/** @param lost its connection broke: it ends, or has closed its inspector by itself */
async function hasEnded(id: ProcessIdentity, lost: boolean): Promise<boolean> {
  const deadline = performance.now() + ENDING_MS
  for (;;) {
    if (!isRunning(id)) return true
    const ending = lost || ((readStat(id.pid)?.flags ?? 0) & PF_EXITING) !== 0
    if (!ending || performance.now() > deadline) return false
    await pause(ENDING_POLL_MS)
  }
}

/** A port may be that of another process by the time we come, and in a container a process has another pid. */
async function checkPid(client: AttachedProcess, pid: number): Promise<void> {
  const answer = await client.post('Runtime.evaluate', { expression: 'process.pid', returnByValue: true, silent: true })
  const own = (answer as { result: { value?: unknown } }).result.value
  const inside = /^NSpid:.*\s(\d+)$/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1]
  if (own === pid || own === Number(inside)) return
  throw new ProbeError(`the inspector at ${client.address} is that of process ${String(own)}`)
}

/** Who else listens at the port that the inspector will want; undefined when nobody does, or it is not known. */
async function portHolder(pid: number): Promise<string | undefined> {
  const port = portOf(pid)
  const deadline = performance.now() + PORT_MS
  for (;;) {
    const holder = port === 0 ? undefined : listenersOn([port]).find((one) => isOther(one, pid))
    if (holder === undefined) return undefined
    if (performance.now() > deadline) {
      return `${holder.pids[0] === undefined ? 'another process' : `process ${processWords(holder.pids[0])}`} listens at port ${port}`
    }
    // Somebody else may be looking at that one and close its inspector soon.
    await pause(PORT_POLL_MS)
  }
}

function isOther({ address, pids }: Listener, pid: number): boolean {
  return /^(?:127\.0\.0\.1|0\.0\.0\.0)$/.test(address) && !pids.includes(pid)
}

function whyClosed(error: unknown, holder: string | undefined, { noSignal }: DumpProcessOptions): string {
  if (noSignal) return 'it has no inspector open, and it was not to be signalled (--no-signal)'
  if (holder !== undefined) return `${holder}, where its inspector would open: close that one first`
  const why = messageOf(error)
  return LATE.test(why) ? `${why}: it may have a SIGUSR1 listener of its own, or be in native code` : why
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
