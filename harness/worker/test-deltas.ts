/** How the numbers of the process move from test to test: one snapshot of about 10 µs at each end of a test. */
import { diff } from '../../src/inspect/resources/delta.ts'
import { openSnapshots, type ResourceSnapshot, type Snapshots } from '../../src/inspect/resources/snapshot.ts'
import type { TestDelta } from '../protocol.ts'

/** A file rarely has so many tests that move something; the worst are of interest. */
const MOST = 500
/** Smaller movements of the heap are those of the garbage collector. */
const HEAP_BYTES = 8 << 20

export class TestDeltas {
  readonly #snapshots: Snapshots
  #last: ResourceSnapshot
  #moved: TestDelta[] = []

  constructor() {
    this.#snapshots = openSnapshots()
    this.#last = this.#snapshots.take()
  }

  /** What has moved until now is nobody's: collection, hooks of suites. */
  reset(): void {
    this.#last = this.#snapshots.take()
  }

  /** Tests that ended; several when they overlap. */
  ended(test: string): void {
    const now = this.#snapshots.take()
    const { fds, children, listeners, heapUsed } = diff(this.#last, now)
    this.#last = now
    if (!fds && !children && !listeners && heapUsed! < HEAP_BYTES) return
    if (this.#moved.length >= MOST) return
    const delta: TestDelta = { test }
    if (fds) delta.descriptors = fds
    if (children) delta.children = children
    if (listeners) delta.listeners = listeners
    if (heapUsed! >= HEAP_BYTES) delta.heapBytes = heapUsed!
    this.#moved.push(delta)
  }

  /** Tests that have moved something, in their order; forgotten then. */
  take(): TestDelta[] {
    const moved = this.#moved
    this.#moved = []
    return moved
  }
}
