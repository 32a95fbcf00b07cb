/**
 * What a test file left behind: handles that are still open when its last hook is over, and processes. Loaded with the
 * worker; costs nothing at the end of a file that left nothing.
 */

import type { LiveHandle } from '../../src/inspect/facts.ts'
import type { HandleEntry, HandleRegistry } from '../../src/inspect/resources/handles.ts'
import { type IgnoreRule, matchIgnore } from '../../src/inspect/resources/ignore.ts'
import type { Failure, LeakReport, Scope } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import { isUserScript } from '../user-code.ts'
import { setImmediate, setTimeout } from './globals.ts'
import { ask } from './requests.ts'

/** The parts of vitest's tasks that are read and changed. */
export interface FileTask {
  id: string
  filepath?: string
  tasks?: FileTask[]
  suite?: FileTask
  result?: { state: string; errors?: unknown[] }
  meta?: Record<string, unknown>
}

export interface Reports {
  onTaskUpdate?(packs: unknown[], events: unknown[]): unknown
}

export interface FileEndOptions {
  /** Null when leaks are not looked for. */
  handles: HandleRegistry | null
  ignore: IgnoreRule[]
  /** Processes were started since the last call. */
  spawned(): boolean
  /** Pids of children that end with the worker. */
  serving(): number[]
  /** Tests whose limit has passed: what they did not come to close is no finding of its own. */
  hung(): string[]
  /** Modules are loaded anew for each file: what one leaves open at its top level is its own. */
  isolated: boolean
}

/** What is closing now is not blamed: looks again after these pauses, milliseconds; only when something is open. */
const PAUSES_MS = [0, 0, 20, 50, 100, 200]
const MOST_LEAKS = 200

export class FileEnd {
  readonly #options: FileEndOptions
  /** Ids of handles that were told once: leftovers of one file are not charged to the next. */
  readonly #told = new Set<number>()

  constructor(options: FileEndOptions) {
    this.#options = options
  }

  /** Called when the hooks of a file are over, before vitest reports the file as finished. */
  async ended(file: FileTask, runner: Reports): Promise<void> {
    const hung = this.#options.hung()
    const cutShort = (scope: Scope): boolean => scope.tests.length > 0 && scope.tests.every((id) => hung.includes(id))
    const left = await this.#stillOpen()
    for (const { handle } of left) this.#told.add(handle.id)
    const open = left.filter(({ scope }) => !cutShort(scope as Scope))
    const spawned = this.#options.spawned()
    if (open.length === 0 && !spawned) return
    const leaks = grouped(open).slice(0, MOST_LEAKS)
    const { failures } = await ask({
      [MARK]: 'file-end',
      file: file.filepath ?? '',
      leaks,
      spawned,
      serving: this.#options.serving(),
      hung,
    })
    if (failures.length > 0) await fail(file, failures, runner)
  }

  async #stillOpen(): Promise<HandleEntry[]> {
    let open = this.#look()
    for (const pause of PAUSES_MS) {
      if (open.length === 0) break
      await new Promise<void>((resolve) => {
        if (pause === 0) setImmediate(resolve)
        else setTimeout(resolve, pause)
      })
      open = this.#look()
    }
    return open
  }

  #look(): HandleEntry[] {
    const { handles, ignore, isolated } = this.#options
    if (handles === null) return []
    return handles.live().filter(({ handle, scope, user }) => {
      // A process is an orphan, which the main process sees too.
      if (handle.kind === 'ChildProcess' || this.#told.has(handle.id)) return false
      const { phase } = scope as Scope
      // What a package opens while it is imported is not the doing of who imports it.
      if (phase === 'collect' && !isUserScript(makerOf(handle))) return false
      if (!user && !(handle.kind !== 'Timeout' && (phase === 'test' || phase === 'hook') && isOfPackage(handle))) {
        return false
      }
      if (phase === 'start' || phase === 'stop' || (phase === 'collect' && !isolated)) return false
      return !matchIgnore(handle, ignore)
    })
  }
}

/** The script that made it: of the innermost frame outside of Node. */
function makerOf({ created }: LiveHandle): string {
  return created.find((frame) => frame.at !== null && !frame.at.url.startsWith('node:'))?.at?.url ?? ''
}

/**
 * Made by a package behind an `await` of its own: no function of the user's is on the stack any more. vitest and vite work
 * for themselves. A package's one-shot timer ends by itself.
 */
function isOfPackage(handle: LiveHandle): boolean {
  const url = makerOf(handle)
  return /[\\/]node_modules[\\/]/.test(url) && !/[\\/]node_modules[\\/](vitest|@vitest|vite|harrow)[\\/]/.test(url)
}

/** Handles of one kind from one place in one scope are one leak. */
function grouped(open: readonly HandleEntry[]): LeakReport[] {
  const groups = new Map<string, LeakReport>()
  for (const { handle, scope } of open) {
    const { tests, hook, suite } = scope as Scope
    const outside = handle.created.filter((frame) => frame.at !== null && !frame.at.url.startsWith('node:'))
    const site = (outside.find((frame) => isUserScript(frame.at!.url)) ?? outside[0])?.at
    const key = [tests, hook, suite, handle.kind, site?.url, site?.line, site?.column].join('\0')
    const known = groups.get(key)
    if (known) known.count++
    else {
      const { kind, what, ageMs, created } = handle
      groups.set(key, { scope: scope as Scope, kind, what, ageMs, count: 1, created })
    }
  }
  return [...groups.values()]
}

/** Adds errors to results that vitest may have reported as passed, and tells it. */
async function fail(file: FileTask, failures: readonly Failure[], runner: Reports): Promise<void> {
  const byId = new Map<string, FileTask>()
  const visit = (task: FileTask): void => {
    byId.set(task.id, task)
    for (const child of task.tasks ?? []) visit(child)
  }
  visit(file)
  const changed = new Set<FileTask>()
  for (const { test, error } of failures) {
    const task = (test === null ? undefined : byId.get(test)) ?? file
    if (!task.result) continue
    task.result.errors = [...(task.result.errors ?? []), error]
    for (let at: FileTask | undefined = task; at; at = at.suite) {
      if (at.result) at.result.state = 'fail'
      changed.add(at)
    }
    if (file.result) file.result.state = 'fail'
  }
  changed.delete(file)
  const packs = [...changed].map((task) => [task.id, task.result, task.meta])
  if (packs.length > 0) await runner.onTaskUpdate?.(packs, [])
}
