/** The main process looks at threads and processes that a worker's code has started. Loaded at the first such hang. */

import { redactLocal } from '../../src/dump/redact.ts'
import { attachThread } from '../../src/inspect/attach-thread.ts'
import { type InspectorClient, within } from '../../src/inspect/client.ts'
import type { ProcessFact } from '../../src/inspect/facts.ts'
import { inspectProcesses } from '../../src/inspect/other-process.ts'
import { inspectTarget, type TargetOptions } from '../../src/inspect/target.ts'
import { inspectThreads, type ThreadFacts } from '../../src/inspect/threads.ts'
import { descendantPids, sampleProcesses } from '../../src/process/tree.ts'
import type { Vitest } from '../compat.ts'
import type { Others } from '../protocol.ts'
import { isUserScript } from '../user-code.ts'
import { quietInspector } from './chatter.ts'
import type { Patient } from './patient.ts'

/** Closing what was attached to. */
const CLOSE_MS = 1500
const MOST_PROCESSES = 12
const MOST_LISTED = 40

/**
 * @param threads of a worker of the threads pool: ids of the threads that it has started; of a fork that does not answer:
 *   the connection to it
 */
export async function lookAtOthers(
  patient: Patient,
  vitest: Vitest,
  threads: readonly number[] | InspectorClient,
): Promise<Others> {
  const options: TargetOptions = {
    budgetMs: patient.options.othersMs,
    isUser: isUserScript,
    redact: (name, value) => redactLocal(name, value, patternsOf(patient.options.redact)),
  }
  const notes: string[] = []
  const began = performance.now()
  // Children may have the stderr of the worker, and tell there that a debugger is attached.
  const { process: fork } = patient
  if (fork?.stderr) quietInspector(fork.stderr, vitest.logger.errorStream)
  const [seen, processes, table] = await Promise.all([
    bounded(threadsOf(threads, options, notes), options, [], 'worker threads', notes),
    bounded(inspectProcesses(pidsBelow(patient, notes), options), options, [], 'processes', notes),
    processTable(patient),
  ])
  return { threads: seen, processes, table, tookMs: performance.now() - began, notes }
}

function patternsOf(sources: readonly string[]): RegExp[] {
  return sources.map((source) => new RegExp(source, 'i'))
}

async function bounded<T>(
  look: Promise<T>,
  { budgetMs = 0 }: TargetOptions,
  otherwise: T,
  what: string,
  notes: string[],
): Promise<T> {
  const ms = budgetMs + CLOSE_MS
  try {
    return await within(look, ms, `the ${what} of the test were not looked at within ${ms} ms`)
  } catch (error) {
    notes.push(error instanceof Error ? error.message : String(error))
    return otherwise
  }
}

/** In the threads pool the process is vitest's own and holds every worker: only what is below the thread is the worker's. */
export function processTable(patient: Patient): Promise<ProcessFact[]> {
  const below = patient.children().flatMap(({ pid }) => [pid, ...descendantPids(pid)])
  const all = patient.process ? [patient.pid, ...below] : below
  return sampleProcesses(new Set(all.slice(0, MOST_LISTED)))
}

/** Only what is below the worker in the process table is provably its own. */
function pidsBelow(patient: Patient, notes: string[]): number[] {
  const direct = patient.children().map(({ pid }) => pid)
  const all = [...new Set([...direct, ...direct.flatMap(descendantPids)])]
  if (all.length > MOST_PROCESSES)
    notes.push(`${all.length - MOST_PROCESSES} of ${all.length} processes were not looked at`)
  return all.slice(0, MOST_PROCESSES)
}

async function threadsOf(
  threads: readonly number[] | InspectorClient,
  options: TargetOptions,
  notes: string[],
): Promise<ThreadFacts[]> {
  if ('post' in threads) {
    const found = await inspectThreads(threads, options)
    notes.push(...found.notes)
    return found.threads
  }
  const seen = await Promise.all(threads.slice(0, MOST_PROCESSES).map((id) => attachAndLook(id, options, notes)))
  return seen.filter((one) => one !== undefined)
}

async function attachAndLook(
  threadId: number,
  options: TargetOptions,
  notes: string[],
): Promise<ThreadFacts | undefined> {
  let client: InspectorClient | undefined
  try {
    client = await attachThread(threadId)
    return { threadId, name: '', url: '', ...(await inspectTarget(client, options)) }
  } catch (error) {
    notes.push(`worker thread ${threadId} was not looked at: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  } finally {
    await client?.close()
  }
}
