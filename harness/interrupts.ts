/** What a signal that ends the run must not cut short. */

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/**
 * vitest listens once and exits a millisecond later, so a second signal would find nobody and end the process with the default
 * action, before anything is written. With this listener it finds somebody, who writes first.
 *
 * @param finish synchronous, and without effect when it is called again
 * @returns a function that ends it
 */
export function finishBeforeSignals(finish: () => void): () => void {
  const listener = (signal: NodeJS.Signals): void => {
    // Whoever else listens decides what the signal means; a listener for one time is still counted, for this one is first.
    if (process.listenerCount(signal) > 1) return
    finish()
    stop()
    process.kill(process.pid, signal)
  }
  const stop = (): void => {
    for (const signal of SIGNALS) process.off(signal, listener)
  }
  for (const signal of SIGNALS) process.prependListener(signal, listener)
  return stop
}
