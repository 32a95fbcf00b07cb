/** How deep to look at a heap: a snapshot where it is affordable, else the stacks of its promises, else nothing. */
import v8 from 'node:v8'
import { ProbeError } from '../errors.ts'
import { asyncStacks } from './async-stacks.ts'
import type { InspectorClient } from './client.ts'
import { driveAsync, driveSync, type InspectorCall, withSession } from './drive.ts'
import type { AsyncFacts } from './facts.ts'
import { takeSnapshotHere, takeSnapshotOver } from './heap/take.ts'
import { HEAP_LIMITS, type HeapLimits } from './heap-limits.ts'
import { factsFromStacks } from './stack-facts.ts'
import { type InspectOptions, inspectSuspended, type OwnerRule } from './suspended.ts'

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

/** Takes the look that `dumpSuspendedHere` and `dumpSuspendedOver` have in common, but for how a snapshot is had. */
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

export interface LookOverOptions extends LookOptions {
  /** Time for all of it, milliseconds. Default 20,000. */
  deadlineMs?: number
}

/**
 * The same look at the thread at the other end of an inspector connection. The thread stands still while V8 walks its heap.
 *
 * @throws {ProbeError} when the heap is too large for any look, cannot be read, or the deadline has passed
 */
export async function dumpSuspendedOver(
  client: Pick<InspectorClient, 'post' | 'on'>,
  options: LookOverOptions = {},
): Promise<AsyncFacts> {
  const began = now()
  const limits = { ...HEAP_LIMITS, ...options.limits }
  const deadlineMs = options.deadlineMs ?? 20_000
  const left = (): number => Math.max(1, deadlineMs - (now() - began))
  const drive = <T>(inspection: Generator<InspectorCall, T, unknown>): Promise<T> =>
    driveAsync(inspection, (method, params) => client.post(method, params, left()), left())
  const bytes = await heapOver(client, left())
  const plan = planFor(bytes, limits)
  if (plan === 'nothing') throw tooLarge(bytes, limits)
  const look = async (): Promise<AsyncFacts> => {
    if (plan === 'stacks') return drive(stacksOnly(options, size(bytes)))
    let fallback: AsyncFacts | undefined
    if (plan === 'stacks first') {
      const started = now()
      const stacks = await drive(asyncStacks())
      const walkMs = now() - started
      fallback = foldStacks(stacks, options, tooSlow(walkMs, limits))
      if (walkMs * SNAPSHOT_FACTOR > Math.min(limits.snapshotMs, left())) return fallback
    }
    try {
      const heap = await takeSnapshotOver(client, left())
      return await drive(inspectSuspended(heap, options))
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      if (fallback !== undefined) return { ...fallback, notes: [withoutSnapshot(why), ...fallback.notes.slice(1)] }
      return drive(stacksOnly(options, why))
    }
  }
  const facts = await look()
  return { ...facts, tookMs: now() - began }
}

/** The size of small objects where the target can tell it, else of the whole heap. */
async function heapOver(client: Pick<InspectorClient, 'post'>, timeoutMs: number): Promise<number> {
  const expression = `process.getBuiltinModule('node:v8').getHeapSpaceStatistics()
    .filter(({ space_name }) => ${SMALL_SPACES}.test(space_name)).reduce((sum, { space_used_size }) => sum + space_used_size, 0)`
  const told = (await client
    .post('Runtime.evaluate', { expression, returnByValue: true, silent: true }, timeoutMs)
    .catch(() => undefined)) as { result?: { value?: unknown } } | undefined
  if (typeof told?.result?.value === 'number') return told.result.value
  const usage = (await client.post('Runtime.getHeapUsage', {}, timeoutMs)) as { usedSize?: unknown }
  return Number(usage.usedSize) || 0
}
