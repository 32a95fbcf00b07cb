/**
 * Setup file of `npm run hammer`: what a test file holds at its end it held at its begin, or the file fails. Sockets and
 * pipes are among the descriptors, workers among the threads.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll } from 'vitest'
import { childrenOf } from '../src/process/procfs.ts'

/** What the first use of a part of Node opens for good: its signal pipe, a loop's wake-up, the cache of a loader. */
const SLACK = { fds: 6, threads: 1, children: 0 }
const SETTLE_MS = 5000

interface Held {
  fds: number
  threads: number
  children: number
  kinds: string
}

function held(): Held {
  const kinds = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'n')]
    } catch {
      return []
    }
  })
  return {
    fds: kinds.length,
    threads: readdirSync('/proc/self/task').length,
    children: childrenOf(process.pid).length,
    kinds: kinds.sort().join(' '),
  }
}

const grew = (before: Held, now: Held): boolean =>
  now.fds > before.fds + SLACK.fds ||
  now.threads > before.threads + SLACK.threads ||
  now.children > before.children + SLACK.children

let before: Held

beforeAll(async () => {
  // Node's thread pool starts with its first use.
  await Promise.all(Array.from({ length: 8 }, () => stat('.')))
  before = held()
})

afterAll(async () => {
  const until = performance.now() + SETTLE_MS
  while (grew(before, held()) && performance.now() < until) await sleep(50)
  const now = held()
  if (grew(before, now))
    throw new Error(`this file leaves more than it found:\n${JSON.stringify(before)}\n${JSON.stringify(now)}`)
})
