/** The children of this worker, as far as their handles tell who lives for whom. */
import type { ChildProcess } from 'node:child_process'

interface Hidden {
  _handle?: { hasRef?(): boolean } | null
  hasRef?(): boolean
}

const MOST_ENDED = 20

export class Children {
  #known: WeakRef<ChildProcess>[] = []

  /** Was there ever one? */
  some = false

  add(child: ChildProcess): void {
    this.some = true
    // Those that have ended stay for a while: somebody may wait for their output.
    const ended = this.#known.filter((ref) => ref.deref() !== undefined && !isRunning(ref.deref()))
    this.#known = [...ended.slice(-MOST_ENDED), ...this.#known.filter((ref) => isRunning(ref.deref()))]
    this.#known.push(new WeakRef(child))
  }

  /** Those that are still held by somebody, also when they have ended. */
  all(): ChildProcess[] {
    return this.#known.flatMap((ref) => ref.deref() ?? [])
  }

  /**
   * Pids of children that serve this worker for as long as it lives, as bundlers and compilers start them: they do not
   * hold it (`unref`), and it holds their stdin or their channel, whose end is their end. Another file of the worker may
   * use them; they are looked at when the worker has stopped.
   */
  serving(): number[] {
    return this.#known
      .map((ref) => ref.deref())
      .filter((child) => child !== undefined && isRunning(child) && serves(child))
      .map((child) => child?.pid)
      .filter((pid) => pid !== undefined)
  }
}

function isRunning(child: ChildProcess | undefined): boolean {
  return child !== undefined && child.exitCode === null && child.signalCode === null
}

function serves(child: ChildProcess): boolean {
  const { stdin, stdio, channel } = child
  const ends = child.connected || (stdin !== null && !stdin.destroyed && !stdin.writableEnded)
  return ends && ![child, channel, ...stdio].some(holds)
}

/** Does this handle, or the one below it, keep the worker alive? */
function holds(thing: unknown): boolean {
  const { _handle, hasRef } = (thing ?? {}) as Hidden
  return _handle?.hasRef?.() ?? hasRef?.call(thing) ?? false
}
