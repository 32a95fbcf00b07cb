/** Looks at all threads of a process over the connection to its main thread. */
import { type RedactNames, redactLocal } from '../dump/redact.ts'
import type { InspectorClient } from '../inspect/client.ts'
import { attachThreads } from '../inspect/threads.ts'
import { isUserScript } from '../inspect/user-script.ts'
import type { OutsideLook, ProcessFacts } from './facts.ts'
import { type LookOptions, lookAtThread } from './look.ts'
import type { Scripts } from './scripts.ts'

/** Options of {@link lookAtThreads}. */
export interface ThreadsOptions {
  /** Names of locals that are never shown, beside the built-in ones. */
  redact?: RedactNames
  /** Largest heap in use that is searched for who holds what is awaited, bytes; 150 MB by default. */
  heapLimit?: number
  /** Told what comes next, for a reader who waits. */
  step?: (name: string) => void
  /** A worker thread of this name is left out. */
  without?: string
}

const HEAP_LIMIT = 150 * 1024 * 1024
const BUSY_PERCENT = 50
const MOST_THREADS = 16

/** Facts in which nothing was seen from inside yet. */
export function blankFacts(outside: OutsideLook, at: string): ProcessFacts {
  return {
    outside,
    threads: [],
    closed: null,
    debugged: false,
    wasOpen: false,
    ended: false,
    reason: null,
    notes: [],
    at,
    tookMs: 0,
  }
}

/** Adds what was seen to the facts, the main thread first. Never rejects. */
export async function lookAtThreads(
  client: InspectorClient,
  facts: ProcessFacts,
  scripts: Scripts,
  options: ThreadsOptions,
): Promise<void> {
  const look: LookOptions = {
    isUser: isUserScript,
    redact: (name, value) => redactLocal(name, value, options.redact),
    heapLimit: options.heapLimit ?? HEAP_LIMIT,
    busy: (facts.outside.cpuPercent ?? 0) >= BUSY_PERCENT,
    ...(options.step && { step: options.step }),
  }
  const main = await lookAtThread({ threadId: 0, name: '', url: '', client }, scripts, look)
  facts.threads.push(main)
  if (main.state === 'paused') facts.debugged = true
  if (main.state === 'native' && main.about === null) return
  let workers: Awaited<ReturnType<typeof attachThreads>>
  try {
    workers = await attachThreads(client)
  } catch (error) {
    facts.notes.push(`worker threads were not listed: ${error instanceof Error ? error.message : String(error)}`)
    return
  }
  try {
    const threads = workers.threads.filter(({ name }) => name !== options.without)
    const left = threads.length - MOST_THREADS
    if (left > 0) facts.notes.push(`${left} of ${threads.length} worker threads are left out`)
    for (const thread of threads.slice(0, MOST_THREADS)) {
      options.step?.(`worker ${thread.threadId}`)
      facts.threads.push(await lookAtThread(thread, scripts, look))
    }
  } finally {
    await workers.close()
  }
}
