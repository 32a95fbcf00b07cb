/**
 * At a limit: what do the threads and processes do that the code of this worker has started? Its own threads a fork looks
 * at itself; the rest the main process sees. Loaded only then.
 */
import { isMainThread } from 'node:worker_threads'
import { redactLocal } from '../../src/dump/redact.ts'
import { connectHere, inspectThreads } from '../../src/inspect/threads.ts'
import type { Others, SelfReport, ToWorker, WorkerConfig } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import { isUserScript } from '../user-code.ts'
import { clearTimeout, now, post, setTimeout } from './globals.ts'

/** Beyond the time for the look; a test run must not stand still when the main process does not answer. */
const ANSWER_MS = 5000

type Config = Pick<WorkerConfig, 'redact' | 'othersMs'>

let asked = 0
const waiting = new Map<number, (others: Others) => void>()

function threadIds(handles: SelfReport['handles']): number[] {
  return (handles ?? []).flatMap(({ threadId }) => threadId ?? [])
}

let current: Promise<Others> | undefined

/** Adds what they do to the report; limits that pass at the same time share one look. Never rejects. */
export async function lookAtOthers(report: SelfReport, config: Config): Promise<void> {
  current ??= look(threadIds(report.handles), config).finally(() => {
    current = undefined
  })
  report.others = await current
}

async function look(ids: number[], config: Config): Promise<Others> {
  const began = now()
  const [mine, theirs] = await Promise.all([
    isMainThread && ids.length > 0 ? ownThreads(config) : undefined,
    askMain(isMainThread ? [] : ids, config.othersMs + ANSWER_MS),
  ])
  return {
    threads: [...(mine?.threads ?? []), ...theirs.threads],
    processes: theirs.processes,
    table: theirs.table,
    tookMs: now() - began,
    notes: [...(mine?.notes ?? []), ...theirs.notes],
  }
}

async function ownThreads({ redact, othersMs }: Config): ReturnType<typeof inspectThreads> {
  const extra = redact.map((source) => new RegExp(source, 'i'))
  const client = connectHere()
  try {
    return await inspectThreads(client, {
      budgetMs: othersMs,
      isUser: isUserScript,
      redact: (name, value) => redactLocal(name, value, extra),
    })
  } finally {
    await client.close()
  }
}

function askMain(threads: number[], boundMs: number): Promise<Others> {
  const n = ++asked
  return new Promise((resolve) => {
    const done = (others: Others): void => {
      clearTimeout(late)
      waiting.delete(n)
      resolve(others)
    }
    const notes = ['the main process did not look at the processes of the test in time']
    const late = setTimeout(() => done({ threads: [], processes: [], table: [], tookMs: 0, notes }), boundMs)
    waiting.set(n, done)
    post({ [MARK]: 'look', n, threads })
  })
}

/** The main process has answered. */
export function looked({ n, others }: Extract<ToWorker, { [MARK]: 'looked' }>): void {
  waiting.get(n)?.(others)
}
