/** How deep to look at a heap: a snapshot where it is affordable, else the stacks of its promises, else nothing. */
import v8 from 'node:v8'
import { ProbeError } from '../errors.ts'
import { asyncStacks } from './async-stacks.ts'
import type { OwnerRule } from './await-graph.ts'
import { driveSync, type InspectorCall, withSession } from './drive.ts'
import type { AsyncFacts } from './facts.ts'
import { takeSnapshotHere } from './heap/take.ts'
import { HEAP_LIMITS, type HeapLimits } from './heap-limits.ts'
import { factsFromStacks } from './stack-facts.ts'
import { type InspectOptions, inspectSuspended } from './suspended.ts'

const MB = 1024 * 1024

/** A snapshot with its graph takes so many times as long as the walk that finds the promises (measured: 4.1 to 4.6). */
const SNAPSHOT_FACTOR = 4.5

export interface LookOptions extends InspectOptions {
  limits?: HeapLimits
}

// Kept at import: a test may replace the clock of the thread that is looked at.
const now = performance.now.bind(performance)
const cpu = process.threadCpuUsage?.bind(process) ?? process.cpuUsage.bind(process)
const { getHeapSpaceStatistics } = v8

type Plan = 'snapshot' | 'stacks first' | 'stacks' | 'nothing'

/** Spaces whose objects are walked one by one; the others hold few and large ones, or code. */
const SMALL_SPACES = /^(?:new|old|shared|trusted|shared_trusted)_space$/

/** Bytes of the objects that a walk over this thread's heap visits. */
export function smallObjectBytes(): number {
  let bytes = 0
  for (const { space_name, space_used_size } of getHeapSpaceStatistics()) {
    if (SMALL_SPACES.test(space_name)) bytes += space_used_size
  }
  return bytes
}

function planFor(bytes: number, limits: Required<HeapLimits>): Plan {
  const mb = bytes / MB
  if (mb <= limits.surelyMb) return 'snapshot'
  if (mb <= limits.snapshotMb) return 'stacks first'
  return mb <= limits.stacksMb ? 'stacks' : 'nothing'
}

const size = (bytes: number): string => `${Math.round(bytes / MB)} MB of objects`

function tooLarge(bytes: number, limits: Required<HeapLimits>): ProbeError {
  return new ProbeError(
    `step 3 of 3: the heap was not looked at: it has ${size(bytes)}, and above ${limits.stacksMb} MB a walk over it takes too long`,
  )
}

const withoutSnapshot = (why: string): string =>
  `step 2 of 3: lines and waiters from async stacks, no heap snapshot (${why}): who holds what is awaited and locals are not known`

const tooSlow = (walkMs: number, limits: Required<HeapLimits>): string =>
  `it would take about ${((walkMs * SNAPSHOT_FACTOR) / 1000).toFixed(0)} s, the limit is ${limits.snapshotMs / 1000} s`

/** Facts of the stacks alone, with the marker's label where one section is asked for. */
function* stacksOnly(options: LookOptions, why: string): Generator<InspectorCall, AsyncFacts, unknown> {
  const began = now()
  const stacks = yield* asyncStacks()
  return { ...foldStacks(stacks, options, why), tookMs: now() - began }
}

function foldStacks(stacks: Parameters<typeof factsFromStacks>[0], options: LookOptions, why: string): AsyncFacts {
  const { ownerRule, isUser, preferOwner } = options
  const facts = factsFromStacks(stacks, {
    ...(isUser && { isUser }),
    ...(ownerRule && { isMarker: markerOf(ownerRule) }),
    owner: preferOwner ?? null,
  })
  return { ...facts, notes: [withoutSnapshot(why), ...facts.notes] }
}

function markerOf({ fn, script, runner }: OwnerRule): (name: string, url: string) => boolean {
  return (name, url) => (name === fn && script(url)) || runner?.(url) === true
}

/**
 * Takes the facts about the calling thread within one synchronous call; works in the main thread and in workers. The event
 * loop stands still meanwhile: some hundred milliseconds on a small heap. How deep it looks depends on the size of the heap
 * ({@link HeapLimits}); what was left out stands in the notes.
 *
 * @param then called with the facts and the inspector before its session ends: heap ids are good for no other one
 * @throws {ProbeError} when the heap is too large for any look, or cannot be read
 */
export function dumpSuspendedHere(
  options: LookOptions = {},
  then?: (facts: AsyncFacts, post: (method: string, params?: object) => unknown) => void,
): AsyncFacts {
  const began = now()
  const limits = { ...HEAP_LIMITS, ...options.limits }
  const bytes = smallObjectBytes()
  const plan = planFor(bytes, limits)
  if (plan === 'nothing') throw tooLarge(bytes, limits)
  const look = (post: (method: string, params?: object) => unknown): AsyncFacts => {
    if (plan === 'stacks') return driveSync(stacksOnly(options, size(bytes)), post)
    if (plan === 'stacks first') {
      const before = cpu()
      const stacks = driveSync(asyncStacks(), post)
      const used = cpu(before)
      const walkMs = (used.user + used.system) / 1000
      if (walkMs * SNAPSHOT_FACTOR > limits.snapshotMs) return foldStacks(stacks, options, tooSlow(walkMs, limits))
    }
    try {
      return driveSync(inspectSuspended(takeSnapshotHere(), options), post)
    } catch (error) {
      return driveSync(stacksOnly(options, error instanceof Error ? error.message : String(error)), post)
    }
  }
  const facts = withSession((post) => {
    const found = look(post)
    then?.(found, post)
    return found
  })
  return { ...facts, tookMs: now() - began }
}
