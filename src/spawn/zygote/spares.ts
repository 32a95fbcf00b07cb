/**
 * One child that is forked ahead, as Android keeps one for its apps: it has made the loop its own, has rehearsed, so that its
 * pages are copied and its caches filled, and waits for its order. The next start then takes what an order takes.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { clearTimer, setTimer } from '../../process/clean.ts'
import type { Order } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

/** From an order until the next one is made: the child that has just got its order needs the processor more. */
const REFILL_MS = 25
/** A zygote that is not quiet is asked again, each time after twice as long: 6 s in all. */
const MOST_TRIES = 8
/** So many that die while they wait are enough: orders are forked as they come then. */
const MOST_LOSSES = 3
/** Said by a child that waits. */
export const READY = 'r'

interface Waiting {
  pid: number
  /** Our end of the pair of sockets. */
  fd: number
  isReady: boolean
}

export interface SpareMaker {
  calls: ForkCalls
  /** May the zygote be forked now? */
  isQuiet(): boolean
  /** Forks. @returns the pid, 0 in the child, -1 when there is none */
  fork(theirs: number): number
  /** A child waits now. */
  made?(): void
}

/** In a zygote. */
export class Spares {
  readonly #maker: SpareMaker
  #waiting: Waiting | undefined
  #timer: NodeJS.Timeout | undefined
  #losses = 0
  #isOff: boolean

  constructor(maker: SpareMaker, isOff: boolean) {
    this.#maker = maker
    this.#isOff = isOff
  }

  /** @returns the pid of the child that has this order now; undefined when none waits, and it has to be forked */
  take(order: Order): number | undefined {
    const spare = this.#waiting
    if (!spare || !this.#saysReady(spare)) return undefined
    this.#waiting = undefined
    const bytes = bytesOf(order)
    try {
      // Nobody else writes here, so there is room, or something is wrong with it.
      if (writeSync(spare.fd, bytes) === bytes.length) return spare.pid
    } catch {
      // It has ended.
    } finally {
      this.#maker.calls.close(spare.fd)
    }
    this.#drop(spare)
    return undefined
  }

  /** What {@link take} does, to no effect. */
  practise(order: Order): void {
    if (this.#waiting) this.#saysReady(this.#waiting)
    const nowhere = openSync('/dev/null', 'w')
    writeSync(nowhere, bytesOf(order))
    closeSync(nowhere)
  }

  #saysReady(spare: Waiting): boolean {
    if (spare.isReady) return true
    try {
      spare.isReady = readSync(spare.fd, Buffer.alloc(1)) === 1
    } catch {
      // EAGAIN: not yet.
    }
    return spare.isReady
  }

  /** An order has been served. */
  refill(): void {
    if (this.#isOff || this.#waiting) return
    clearTimer(this.#timer)
    this.#tryIn(REFILL_MS, MOST_TRIES)
  }

  #tryIn(ms: number, tries: number): void {
    this.#timer = setTimer(() => {
      if (this.#isOff || this.#waiting) return
      if (this.#maker.isQuiet()) this.#make()
      else if (tries > 1) this.#tryIn(2 * ms, tries - 1)
    }, ms).unref()
  }

  #make(): void {
    const { calls } = this.#maker
    const pair = calls.socketPair()
    if (!pair) return
    const pid = this.#maker.fork(pair.theirs)
    if (pid === 0) return
    calls.close(pair.theirs)
    if (pid < 0) {
      calls.close(pair.ours)
      return
    }
    this.#waiting = { pid, fd: pair.ours, isReady: false }
    this.#maker.made?.()
  }

  /** Pid of the child that waits. */
  get pid(): number | undefined {
    return this.#waiting?.pid
  }

  /** It has ended and is collected. */
  lost(): void {
    if (!this.#waiting) return
    this.#maker.calls.close(this.#waiting.fd)
    this.#waiting = undefined
    if (++this.#losses >= MOST_LOSSES) this.#isOff = true
  }

  /** Ends it; when this returns it is gone. */
  end(): void {
    this.#isOff = true
    if (this.#waiting) this.#drop(this.#waiting)
    this.#waiting = undefined
  }

  /** Not collected yet, so the pid is its own. */
  #drop({ pid }: Waiting): void {
    try {
      process.kill(pid, constants.signals.SIGKILL)
    } catch {
      // It has ended already.
    }
    this.#maker.calls.collectNow(pid)
  }
}

const bytesOf = (order: Order): Buffer => Buffer.from(`${JSON.stringify(order)}\n`)
