/** May this process be forked now? Only when nothing is under way that the child would have half of. */
import { readdirSync } from 'node:fs'
import type { Inherited } from './inherited.ts'

/** Threads of libuv's pool, which are made when they are first needed; idle ones are made anew in a child. */
const POOL_THREADS = Number(process.env.UV_THREADPOOL_SIZE ?? 4)

/** Resources of the zygote itself: its control connections, and the signal that tells of the end of a child. */
const OWN = /^(PipeWrap|PipeConnectWrap|SignalWrap|TTYWrap)$/

export class Quiet {
  readonly #threads = countThreads()
  readonly #inherited: Inherited
  #own = 0

  constructor(inherited: Inherited) {
    this.#inherited = inherited
  }

  /** The zygote is up: what it has open now is its own. */
  settle(): void {
    this.#own = openHandles()
  }

  /** A control connection more, or one less. */
  change(by: 1 | -1): void {
    this.#own += by
  }

  /** @returns why it may not be forked, or undefined */
  reason(): string | undefined {
    const busy = [...process.getActiveResourcesInfo().filter((name) => !OWN.test(name)), ...this.#inherited.jobs()]
    if (busy.length > 0) return `it is not quiet (${[...new Set(busy)].join(', ')})`
    const open = openHandles()
    if (open > this.#own) return `it is not quiet (${open - this.#own} connections or signal handlers of a warm module)`
    const threads = countThreads()
    if (threads > this.#threads + POOL_THREADS) return `it has ${threads} threads, ${this.#threads} at its start`
    return undefined
  }
}

function openHandles(): number {
  return process.getActiveResourcesInfo().filter((name) => OWN.test(name) && name !== 'TTYWrap').length
}

function countThreads(): number {
  return readdirSync('/proc/self/task').length
}
