/** How the numbers of the process move from test to test: a few counts at the end of each, some microseconds. */
import { openSnapshots, type ResourceCounts, type Snapshots } from '../../src/inspect/resources/snapshot.ts'
import type { TestDelta } from '../protocol.ts'

/** A file rarely has so many tests that move something; the worst are of interest. */
const MOST = 500
/** Smaller movements of the heap are those of the garbage collector. */
const HEAP_BYTES = 8 << 20

export class TestDeltas {
  readonly #snapshots: Snapshots = openSnapshots()
  /** A process was started: children are counted from then on. */
  readonly #hasChildren: () => boolean
  #last: ResourceCounts
  #moved: TestDelta[] = []

  constructor(hasChildren: () => boolean) {
    this.#hasChildren = hasChildren
    this.#last = this.#snapshots.counts(false)
  }

  /** What has moved until now is nobody's: collection, hooks of suites. */
  reset(): void {
    this.#last = this.#snapshots.counts(this.#hasChildren())
  }

  /** A test has ended; of those that overlap, each gets what moved since the last one. */
  ended(test: string): void {
    const before = this.#last
    const now = this.#snapshots.counts(this.#hasChildren())
    this.#last = now
    const descriptors = (now.fds ?? 0) - (before.fds ?? 0)
    const children = (now.children ?? 0) - (before.children ?? 0)
    const listeners = now.listeners - before.listeners
    const heapBytes = now.heapUsed - before.heapUsed
    if (!descriptors && !children && !listeners && heapBytes < HEAP_BYTES) return
    if (this.#moved.length >= MOST) return
    const delta: TestDelta = { test }
    if (descriptors) delta.descriptors = descriptors
    if (children) delta.children = children
    if (listeners) delta.listeners = listeners
    if (heapBytes >= HEAP_BYTES) delta.heapBytes = heapBytes
    this.#moved.push(delta)
  }

  /** Tests that have moved something, in their order; forgotten then. */
  take(): TestDelta[] {
    const moved = this.#moved
    this.#moved = []
    return moved
  }
}
