import { TransportClosed } from '../../errors.ts'
import { clearTimer, setTimer } from '../../process/clean.ts'

/** What every transport does at its end: once, and whoever waits for room hears of it. */
export class Closing {
  reason: TransportClosed | undefined
  #listener: ((reason: TransportClosed) => void) | undefined
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []
  readonly #settled = Promise.withResolvers<void>()

  /** @returns false when it was closed before */
  end(reason: TransportClosed): boolean {
    if (this.reason) return false
    this.reason = reason
    for (const { reject } of this.#waiting.splice(0)) reject(reason)
    this.#settled.resolve()
    this.#listener?.(reason)
    return true
  }

  /** The one that is told; at once (in a microtask) when it is over already. */
  listen(listener: (reason: TransportClosed) => void): void {
    this.#listener = listener
    const { reason } = this
    if (reason) queueMicrotask(() => listener(reason))
  }

  get settled(): Promise<void> {
    return this.#settled.promise
  }

  /** Waits for {@link room}. */
  wait(): Promise<void> {
    if (this.reason) return Promise.reject(this.reason)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  room(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }
}

/** One reason for everything that can end a connection (R-315). */
export function lost(peer: string, cause?: unknown, partial = false): TransportClosed {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  if (partial) {
    return new TransportClosed(`the connection to ${peer} ended in the middle of a frame`, {
      by: 'peer',
      cause,
      logLevel: 'error',
    })
  }
  if (cause === undefined || code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_STREAM_WRITE_AFTER_END') {
    return new TransportClosed(`${peer} has closed the connection${code ? ` (${code})` : ''}`, { by: 'peer', cause })
  }
  return new TransportClosed(
    `the connection to ${peer} broke: ${cause instanceof Error ? cause.message : String(cause)}`,
    {
      by: 'unknown',
      cause,
      logLevel: 'error',
    },
  )
}

export function closedHere(peer: string): TransportClosed {
  return new TransportClosed(`the connection to ${peer} was closed here`, { by: 'local' })
}

/** Waits for `done`, at most so long. */
export async function atMost(done: Promise<unknown>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimer(resolve, limitMs)
  })
  await Promise.race([done, late])
  clearTimer(timer)
}
