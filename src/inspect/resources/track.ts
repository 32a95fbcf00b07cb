import { monotonic } from '../../process/clean.ts'
import type { LiveHandle } from '../facts.ts'
import { diff, isQuiet, type SettleOptions, settle } from './delta.ts'
import { type HandleEntry, type HandleRegistry, installHandles } from './handles.ts'
import { type IgnoreRule, matchIgnore } from './ignore.ts'
import { type NameChange, nameChanges, takeNames } from './names.ts'
import { openSnapshots, type ResourceSnapshot } from './snapshot.ts'
import { renderDeltas } from './track-text.ts'

/** A count before and after; null is unknown. */
export interface BeforeAfter {
  before: number | null
  after: number | null
}

/** What was left behind, or is gone, after a piece of code. Plain data. */
export interface ResourceDeltaReport {
  label: string
  /** Is anything there that was not, or the other way round? Memory, threads and contexts alone are no change. */
  changed: boolean
  /** How long the code ran, milliseconds. */
  tookMs: number
  /** Counts of the process. */
  workers: BeforeAfter
  threads: BeforeAfter
  fds: BeforeAfter
  children: BeforeAfter
  /** Listeners on `process`. */
  listeners: BeforeAfter
  unixSockets: BeforeAfter
  shm: BeforeAfter
  heapUsed: BeforeAfter
  rss: BeforeAfter
  /** Active resources by Node's name for them. */
  kinds: Record<string, BeforeAfter>
  /** Handles that the code made and left open, with the line that made them; without the ignored ones. */
  handles: LiveHandle[]
  /** Handles that were left out because of the ignore list. */
  ignored: number
  /** What came and what went, by name. */
  changes: NameChange[]
}

export interface TrackOptions {
  /** Gets the report, also when nothing changed. Default: its text goes to stderr when something changed. */
  writer?: (text: string, report: ResourceDeltaReport) => void
  /** How long to wait for things that are closing; false for not at all. */
  settle?: SettleOptions | false
  /** Leftovers that are meant. */
  ignore?: readonly IgnoreRule[]
  /** The registry of this thread, when there is one; default: one for the time that `fn` runs. */
  registry?: HandleRegistry
}

/**
 * Runs code and reports what it left behind: workers, threads, descriptors, child processes, handles (with the line that
 * made them), listeners on `process`, unix sockets, shared memory, heap growth. What other code of this thread does at the
 * same time is reported as well, and so are files in `/dev/shm` that other processes of the same user made meanwhile. Where `/proc` is missing, the counts that come from there are null.
 *
 * @param label name of it in the report
 * @param fn the code; gets the counts of before
 * @returns what `fn` returns
 * @throws what `fn` throws, unchanged, after the report; nothing of its own
 */
export async function trackResourceDeltas<T>(
  label: string,
  fn: (before: ResourceSnapshot) => T | PromiseLike<T>,
  options: TrackOptions = {},
): Promise<T> {
  const registry = options.registry ?? installHandles({ scope: () => undefined, isUser })
  const snapshots = openSnapshots(registry)
  try {
    const mark = registry.mark()
    const before = look()
    const start = monotonic()
    try {
      return await fn(before.snapshot)
    } finally {
      const tookMs = Math.round(monotonic() - start)
      if (options.settle !== false) {
        await settle(() => registry.live({ since: mark }).length === 0 && unmoved(before.snapshot), options.settle)
      }
      report(before, look(), registry.live({ since: mark }), tookMs)
    }
  } finally {
    snapshots.close()
    if (!options.registry) registry.close()
  }

  function look() {
    const workers = registry.live({ unref: true }).filter(({ handle }) => handle.kind === 'Worker').length
    return { names: takeNames(), kinds: snapshots.kinds(), workers, snapshot: snapshots.take() }
  }

  function unmoved(before: ResourceSnapshot): boolean {
    return isQuiet(diff(before, snapshots.take()))
  }

  function report(before: Look, after: Look, entries: HandleEntry[], tookMs: number): void {
    try {
      const made = reportOf(label, before, after, entries, options.ignore ?? [], tookMs)
      const text = renderDeltas(made)
      if (options.writer) options.writer(text, made)
      else if (made.changed) process.stderr.write(text)
    } catch {
      // A writer that throws must not take the place of the result.
    }
  }
}

interface Look {
  snapshot: ResourceSnapshot
  names: ReturnType<typeof takeNames>
  kinds: Record<string, number>
  workers: number
}

function reportOf(
  label: string,
  before: Look,
  after: Look,
  entries: HandleEntry[],
  rules: readonly IgnoreRule[],
  tookMs: number,
): ResourceDeltaReport {
  const count = (name: 'threads' | 'fds' | 'children' | 'listeners' | 'heapUsed' | 'rss'): BeforeAfter => {
    return { before: before.snapshot[name], after: after.snapshot[name] }
  }
  const procfs = before.snapshot.fds !== null
  const named = (name: 'unixSockets' | 'shm'): BeforeAfter => {
    return { before: procfs ? before.names[name].size : null, after: procfs ? after.names[name].size : null }
  }
  const handles = entries.map(({ handle }) => handle).filter((handle) => !matchIgnore(handle, rules))
  const changes = nameChanges(before.names, after.names)
  const kinds: Record<string, BeforeAfter> = {}
  for (const kind of new Set([...Object.keys(before.kinds), ...Object.keys(after.kinds)])) {
    kinds[kind] = { before: before.kinds[kind] ?? 0, after: after.kinds[kind] ?? 0 }
  }
  return {
    label,
    changed: handles.length > 0 || changes.length > 0,
    tookMs,
    workers: { before: before.workers, after: after.workers },
    threads: count('threads'),
    fds: count('fds'),
    children: count('children'),
    listeners: count('listeners'),
    unixSockets: named('unixSockets'),
    shm: named('shm'),
    heapUsed: count('heapUsed'),
    rss: count('rss'),
    kinds,
    handles,
    ignored: entries.length - handles.length,
    changes,
  }
}

/** Without a test runner all that is neither Node's nor a package's is the user's. */
function isUser(url: string): boolean {
  return !url.startsWith('node:') && !url.includes('/node_modules/')
}
