/** Lets one caller in at a time, in the order they came. Not re-entrant. */
export class Lock {
  #held = false
  #waiting: (() => void)[] = []

  async acquire(): Promise<() => void> {
    if (this.#held) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#held = true
    return () => this.#release()
  }

  #release(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#held = false
  }
}
