/**
 * Ask, wait, insist: request, wait for the end; SIGTERM only when the request was not acknowledged; SIGKILL to the
 * whole subtree at `hardKillAfter`; a thread that even `terminate()` does not end is abandoned.
 */

import { setTimer } from '../process/clean.ts'
import { endMembers } from '../reap/end.ts'
import { findMembers } from '../reap/members.ts'
import { monotonic } from '../scope/clock.ts'
import type { ActorHandle, Exit } from '../spawn/backend.ts'
import { PROCESS_METHODS } from '../spawn/methods.ts'
import { lateAfter } from '../wire/late.ts'
import type { Child } from './child.ts'
import { log } from './log.ts'

/** Environment variable that tells below which actors a process was started. */
export const LINEAGE_ENV = 'HARROW_LINEAGE'

const POLL_MS = 25

export class Ladder {
  readonly #child: Child
  #running: Promise<void> | undefined
  #hurry: (() => void) | undefined

  constructor(child: Child) {
    this.#child = child
  }

  /** Idempotent; a later `hard` makes one that is under way skip to force. Never rejects. */
  run({ hard = false }: { hard?: boolean }): Promise<void> {
    if (hard) this.#hurry?.()
    this.#running ??= this.#run(hard)
    return this.#running
  }

  async #run(hard: boolean): Promise<void> {
    const { handle } = this.#child
    if (!handle || handle.poll()) return
    const began = monotonic()
    const rung = (what: string): void =>
      log('cancel', `${this.#child}: ${what} after ${Math.round(monotonic() - began)} ms`)
    try {
      if (!hard && (await this.#ask(handle, rung))) return
      if (PROCESS_METHODS.includes(this.#child.method)) await this.#kill(handle, rung)
      else await this.#abandon(handle, rung)
    } catch (error) {
      log('error', `ending ${this.#child} failed: ${error instanceof Error ? error.stack : String(error)}`)
    }
  }

  /** @returns true when it has ended */
  async #ask(handle: ActorHandle, rung: (what: string) => void): Promise<boolean> {
    const child = this.#child
    const { deadlines } = child.actor.vars
    const late = new Promise<'hurry'>((resolve) => {
      this.#hurry = () => resolve('hurry')
    })
    const exited = handle.wait().then((): 'exited' => 'exited')
    const answer = child.peer
      ? child.peer.cancelActor(deadlines.cancelAck, child.actor.nurseryBudgetMs)
      : Promise.resolve<'late'>('late')
    rung('asked to end')
    const how = await Promise.race([answer, exited, late])
    if (how === 'exited') return true
    const threadLike = !PROCESS_METHODS.includes(child.method)
    if (how === 'acked') {
      if (await this.#within(handle, threadLike ? deadlines.threadAbandon : deadlines.hardKillAfter, late)) return true
      rung('acknowledged, but still there')
      child.escalated = true
      return false
    }
    // A channel that broke may be the first sign of its end.
    if (how === 'lost' && (await this.#within(handle, deadlines.cancelAck, late))) return true
    child.escalated = true
    if (how === 'hurry' || threadLike) return false
    rung(how === 'lost' ? 'unreachable: SIGTERM' : 'no acknowledgement: SIGTERM')
    handle.terminate()
    const spent = how === 'late' ? deadlines.cancelAck : 0
    return await this.#within(handle, Math.max(0, deadlines.hardKillAfter - spent), late)
  }

  async #kill(handle: ActorHandle, rung: (what: string) => void): Promise<void> {
    rung('SIGKILL')
    const report = await handle.kill(this.#child.actor.vars.deadlines.killConfirm)
    if (report.gone) return
    // In the kernel, which no signal reaches: it is reported, and nobody waits for it.
    const left = report.left.map(({ pid, command, reason }) => `${pid} ${command} ${reason}`).join('; ')
    log('critical', `${this.#child} cannot be ended: ${left}`)
    handle.abandon()
  }

  async #abandon(handle: ActorHandle, rung: (what: string) => void): Promise<void> {
    rung('terminate()')
    handle.terminate()
    const { threadAbandon, linkDrain } = this.#child.actor.vars.deadlines
    if (await this.#within(handle, threadAbandon)) return
    // A thread that waits for a program in a system call comes back when that program has ended.
    await this.endOrphans()
    if (await this.#within(handle, linkDrain)) return
    log('critical', `${this.#child} cannot be ended and is abandoned: ${handle.describe()}`)
    handle.abandon()
  }

  async #within(handle: ActorHandle, limitMs: number, hurry?: Promise<unknown>): Promise<boolean> {
    let inTime: (() => void) | undefined
    const late = new Promise<false>((resolve) => {
      inTime = lateAfter(limitMs, () => resolve(false))
    })
    try {
      const exited = handle.wait().then((_: Exit) => true)
      return await Promise.race([exited, late, ...(hurry ? [hurry.then(() => handle.poll() !== undefined)] : [])])
    } finally {
      inTime?.()
    }
  }

  /**
   * Ends processes that were started below an actor which is gone without having looked after them; they get a moment to
   * see it themselves.
   */
  async endOrphans(): Promise<void> {
    const { lineage } = this.#child.plan.spec
    const query = { tag: { name: LINEAGE_ENV, value: lineage, below: true as const } }
    const until = monotonic() + this.#child.actor.vars.deadlines.linkDrain
    while (findMembers(query).members.length > 0) {
      if (monotonic() > until) {
        const { ended, left } = await endMembers([], { politeMs: 0, query })
        for (const { pid, command } of ended) log('cancel', `${pid} ${command}, left by ${this.#child}, was ended`)
        for (const { pid, command, reason } of left)
          log('error', `${pid} ${command}, left by ${this.#child}, ${reason}`)
        return
      }
      await new Promise((resolve) => setTimer(resolve, POLL_MS))
    }
  }
}
