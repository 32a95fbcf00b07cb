/**
 * A map of whole numbers for entries that come and go quickly. `Map` leaves a chain of outgrown tables behind it, and what
 * they hold survives V8's young collections once the first of them is old (DESIGN.md section 8); this one changes in place.
 */
const LEAST = 16

export class NumberMap<V> {
  #keys: (number | undefined)[] = new Array(LEAST).fill(undefined)
  #values: (V | undefined)[] = new Array(LEAST).fill(undefined)
  #mask = LEAST - 1
  #size = 0

  get size(): number {
    return this.#size
  }

  get(key: number): V | undefined {
    return this.#values[this.#find(key)]
  }

  set(key: number, value: V): void {
    let at = this.#find(key)
    if (this.#keys[at] === undefined) {
      if (2 * (this.#size + 1) > this.#mask) {
        this.#grow()
        at = this.#find(key)
      }
      this.#keys[at] = key
      this.#size++
    }
    this.#values[at] = value
  }

  delete(key: number): boolean {
    let hole = this.#find(key)
    if (this.#keys[hole] === undefined) return false
    this.#size--
    // Those behind it that were pushed away move up, so that no marker of a deleted one is needed.
    for (let at = (hole + 1) & this.#mask; ; at = (at + 1) & this.#mask) {
      const other = this.#keys[at]
      if (other === undefined) break
      const home = this.#home(other)
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue
      this.#keys[hole] = other
      this.#values[hole] = this.#values[at]
      hole = at
    }
    this.#keys[hole] = undefined
    this.#values[hole] = undefined
    return true
  }

  /** As they are now; the map may change meanwhile. */
  entries(): [number, V][] {
    const all: [number, V][] = []
    for (let at = 0; at <= this.#mask; at++) {
      const key = this.#keys[at]
      if (key !== undefined) all.push([key, this.#values[at] as V])
    }
    return all.sort(([a], [b]) => a - b)
  }

  /** Numbers of one side of a connection are all odd or all even. */
  #home(key: number): number {
    return Math.floor(key / 2) & this.#mask
  }

  /** Where it is, or where it would go. */
  #find(key: number): number {
    let at = this.#home(key)
    for (;;) {
      const other = this.#keys[at]
      if (other === key || other === undefined) return at
      at = (at + 1) & this.#mask
    }
  }

  #grow(): void {
    const all = this.entries()
    const length = 2 * (this.#mask + 1)
    this.#keys = new Array(length).fill(undefined)
    this.#values = new Array(length).fill(undefined)
    this.#mask = length - 1
    this.#size = 0
    for (const [key, value] of all) this.set(key, value)
  }
}
