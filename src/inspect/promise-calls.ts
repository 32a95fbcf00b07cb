import type { RawFrame } from './facts.ts'

/** Promises that were born at one place with the same callers. */
export interface CallSite {
  /** User frames at the birth, innermost first. */
  frames: RawFrame[]
  /** The birth was the entry of an async function; else the promise was made inside the innermost frame. */
  entry: boolean
  born: number
  settled: number
  /** Ids of those that are pending. */
  pending: Set<number>
  /** Number of the promise that was settled last, 0 when none was. */
  last: number
}

/** Frames that tell one call from another. */
const MOST_FRAMES = 6
const MOST_SITES = 3000

/** Where the promises of a thread were made and how many of them have settled; bounded by the number of places. */
export class PromiseCalls {
  readonly sites = new Map<string, CallSite>()
  readonly #pending = new Map<number, CallSite>()

  /** @param frames user frames at the birth */
  born(id: number, frames: RawFrame[], entry: boolean): void {
    if (frames.length === 0) return
    const key = frames
      .slice(0, MOST_FRAMES)
      .map(({ at }) => (at === null ? '' : `${at.url}:${at.line}:${at.column}`))
      .join('|')
    let site = this.sites.get(key)
    if (site === undefined) {
      if (this.sites.size >= MOST_SITES) return
      site = { frames: frames.slice(0, MOST_FRAMES), entry, born: 0, settled: 0, pending: new Set(), last: 0 }
      this.sites.set(key, site)
    }
    site.born += 1
    site.pending.add(id)
    this.#pending.set(id, site)
  }

  settled(id: number): void {
    const site = this.#pending.get(id)
    if (site === undefined) return
    this.#pending.delete(id)
    site.pending.delete(id)
    site.settled += 1
    site.last = Math.max(site.last, id)
  }
}
