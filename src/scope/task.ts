import { clearTimer, monotonic, startTimer } from './clock.ts'
import type { Wait } from './reasons.ts'
import { current, Scope } from './scope.ts'
import { type CreationSite, describeSite, siteStack } from './sites.ts'

/** A wait that goes on, with the time at which it began. */
export interface OpenWait extends Wait {
  /** Milliseconds on the clock of `process.hrtime()`. */
  since: number
}

export type TaskState = 'running' | 'parked' | 'cancelling' | 'done'

let numbers = 0

/** One async function that runs in a nursery; it is the scope of what runs in it, too. */
export class Task<R = unknown> extends Scope {
  readonly id: number = ++numbers
  /** @internal waits that go on, the latest last */
  waits: OpenWait[] | undefined = undefined
  /** @internal */
  over = false
  /** @internal given up */
  givenUp = false
  /** @internal stack of the call that spawned it; not of every task, see `sites.ts` */
  site: object | undefined = undefined
  #outcome: 'value' | 'error' | undefined = undefined
  #settledWith: unknown = undefined
  #result: PromiseWithResolvers<unknown> | undefined = undefined

  /**
   * Settles with what the function returns or throws. Looking at it is optional: an error reaches the nursery either way and
   * is never an unhandled rejection.
   */
  get result(): Promise<R> {
    if (this.#result === undefined) {
      // Made at the first look: most tasks are never asked, and a promise is a quarter of what a task costs.
      this.#result = Promise.withResolvers()
      this.#result.promise.catch(ignore)
      this.#tell(this.#result)
    }
    return this.#result.promise as Promise<R>
  }

  #tell({ resolve, reject }: PromiseWithResolvers<unknown>): void {
    if (this.#outcome === 'value') resolve(this.#settledWith)
    else if (this.#outcome === 'error') reject(this.#settledWith)
  }

  /** Its function has returned. @internal */
  returned(value: unknown): void {
    this.#outcome = 'value'
    this.#settledWith = value
    if (this.#result !== undefined) this.#tell(this.#result)
  }

  /** Its function has thrown. @internal */
  threw(error: unknown): void {
    this.#outcome = 'error'
    this.#settledWith = error
    if (this.#result !== undefined) this.#tell(this.#result)
  }

  /** Where it was spawned, if that was noted. */
  get created(): CreationSite | null {
    return describeSite(this.site)
  }

  get scope(): Scope {
    return this
  }

  get state(): TaskState {
    if (this.over) return 'done'
    if (this.cancelled) return 'cancelling'
    return this.waits !== undefined && this.waits.length > 0 ? 'parked' : 'running'
  }

  /** What it waits for: the latest wait. */
  get wait(): OpenWait | undefined {
    return this.waits?.at(-1)
  }
}

/** The task that code runs in; undefined outside of any. */
export function currentTask(): Task | undefined {
  return taskOf(current.getStore() ?? null)
}

/** @internal */
export function taskOf(scope: Scope | null): Task | undefined {
  for (let at = scope; at !== null; at = at.outer) if (at instanceof Task) return at
  return undefined
}

/** A task that did not react to its cancellation and is no longer waited for. */
export interface UncooperativeTask {
  name: string
  /** Stack of the call that spawned it, as far as it was noted. */
  startedAtStack: string
  /** What it waited for when it was given up. */
  wait: Wait | undefined
  /** Milliseconds since the epoch. */
  givenUpAt: number
}

const givenUp: UncooperativeTask[] = []
const listeners = new Set<(task: UncooperativeTask) => void>()
const MOST_REMEMBERED = 1000

/** All tasks of this process that were given up, the latest 1,000. */
export function uncooperativeTasks(): readonly UncooperativeTask[] {
  return givenUp
}

/** @returns a function that ends it */
export function onUncooperative(listener: (task: UncooperativeTask) => void): () => void {
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
  }
}

/** @internal */
export function giveUp(name: string, site: object | undefined, wait: Wait | undefined): UncooperativeTask {
  const task = { name, startedAtStack: siteStack(site), wait, givenUpAt: Date.now() }
  givenUp.push(task)
  if (givenUp.length > MOST_REMEMBERED) givenUp.shift()
  for (const listener of listeners) listener(task)
  return task
}

/**
 * Watches over a cancelled task: calls back when it has not ended for so long, not counting the time that it spends in
 * something of harrow's that is bounded itself.
 *
 * @returns a function that ends the watch
 * @internal
 */
export function afterGrace(isHeld: () => boolean, graceMs: number, expired: () => void): () => void {
  const step = Math.max(1, Math.min(25, graceMs / 4))
  let timer: NodeJS.Timeout | undefined
  let last = monotonic()
  let spent = 0
  const look = (): void => {
    const now = monotonic()
    // A late timer is the machine's delay, not the task's.
    if (!isHeld()) spent += Math.min(now - last, 2 * step)
    last = now
    if (spent >= graceMs) expired()
    else timer = startTimer(look, step)
  }
  timer = startTimer(look, step)
  return () => clearTimer(timer)
}

function ignore(): void {}
