/**
 * Every touch point with parts of vitest that are experimental or private, in one place. `checkCompat` tests them when
 * the plugin starts; with one missing, the stock pool is left in place and one line says so.
 *
 * Also relied on, in the worker: `TestRunner.prototype` (`__setTraces`, `onBeforeRunSuite`, `onAfterRunSuite`,
 * `onBeforeRunTask`, `runTask`, the `_deadline` of bounded sections), the global symbol of its own timers, `runner.trace` and its span names
 * (`harness/worker/tracker.ts`), what it notes on `aroundEach` and `aroundAll`
 * (`harness/worker/around-hooks.ts`); birpc's message format in `harness/pool/rpc.ts`.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Worker } from 'node:worker_threads'
import type { PoolOptions, PoolWorker, TestProject, Vitest, WorkerRequest } from 'vitest/node'

/** A task as the main process keeps it (vitest's own type is wider). */
export interface Task {
  id: string
  name: string
  type: 'test' | 'suite'
  mode: string
  timeout?: number
  fails?: boolean
  concurrent?: boolean
  location?: { line: number; column: number }
  suite?: Task
  file: FileTask
  tasks?: Task[]
  result?: TaskResult
  meta: Record<string, unknown>
  /** Of tests; what reporters print of each beside its result. */
  annotations?: unknown[]
}

export interface FileTask extends Task {
  filepath: string
  projectName?: string
  tasks: Task[]
}

export interface TaskResult {
  state: string
  startTime?: number
  duration?: number
  errors?: SerializedError[]
  note?: string
  retryCount?: number
  [key: string]: unknown
}

export interface SerializedError {
  name: string
  message: string
  stack: string
  [key: string]: unknown
}

export type TaskPack = [id: string, result: TaskResult | undefined, meta: Record<string, unknown>]
export type TaskEvent = [id: string, event: string, data: undefined]

/** Functions that a worker calls in the main process. */
export interface MainRpc {
  onTaskUpdate(packs: TaskPack[], events: TaskEvent[]): Promise<void>
  onCollected(files: FileTask[]): Promise<void>
  [method: string]: (...args: never[]) => unknown
}

export interface FileSpec {
  filepath: string
  testIds?: string[]
  [key: string]: unknown
}

/** `context` of a `run` request. */
export interface RunContext {
  files: FileSpec[]
  [key: string]: unknown
}

export type StockPool = 'forks' | 'threads'

/** A stock pool worker with its private handle. */
export interface InnerWorker extends PoolWorker {
  entrypoint: string
  _fork?: ChildProcess
  _thread?: Worker
}

interface VitestNode {
  ForksPoolWorker: new (options: PoolOptions) => PoolWorker
  ThreadsPoolWorker: new (options: PoolOptions) => PoolWorker
  createMethodsRPC(project: TestProject, options: { collect?: boolean; cacheFs?: boolean }): unknown
}

let node: VitestNode | undefined

/**
 * Loads vitest's node API from the running vitest, not from where harrow stands: two copies would not share state.
 * @returns undefined when everything is there, else one sentence about what is missing
 */
export async function checkCompat(vitest: Vitest): Promise<string | undefined> {
  if (typeof vitest.distPath !== 'string') return 'vitest has no distPath'
  node ??= (await import(pathToFileURL(join(vitest.distPath, 'node.js')).href)) as VitestNode
  for (const name of ['ForksPoolWorker', 'ThreadsPoolWorker', 'createMethodsRPC'] as const) {
    if (typeof node[name] !== 'function') return `vitest/node has no ${name}`
  }
  const state = vitest.state as unknown as Record<string, unknown>
  if (typeof state.getFiles !== 'function' || !(state.idMap instanceof Map))
    return 'vitest.state has no getFiles and idMap'
  return undefined
}

/**
 * A stock worker whose process or thread runs `entry` first.
 * @throws Error when the stock worker has no `entrypoint` to replace
 */
export function createInner(
  base: StockPool,
  options: PoolOptions,
  entry: string,
): { inner: InnerWorker; stockEntry: string } {
  if (!node) throw new Error('checkCompat has not run')
  const Class = base === 'forks' ? node.ForksPoolWorker : node.ThreadsPoolWorker
  const inner = new Class(options) as InnerWorker
  if (typeof inner.entrypoint !== 'string') throw new Error('the stock pool worker has no entrypoint')
  const stockEntry = inner.entrypoint
  inner.entrypoint = entry
  return { inner, stockEntry }
}

/** Has a stock worker for processes use one that is made in another way; undefined from `make`: it forks as ever. */
export function useProcess(inner: InnerWorker, make: () => Promise<ChildProcess | undefined>): void {
  const start = inner.start.bind(inner)
  inner.start = async () => {
    inner._fork ??= await make()
    await start()
  }
}

export function mainRpc(project: TestProject, cacheFs: boolean): MainRpc {
  if (!node) throw new Error('checkCompat has not run')
  return node.createMethodsRPC(project, { collect: false, cacheFs }) as MainRpc
}

export function fileTasks(project: TestProject, path: string): FileTask[] {
  const files = project.vitest.state.getFiles([path]) as unknown as FileTask[]
  return files.filter((file) => (file.projectName ?? '') === project.name)
}

export function taskById(vitest: Vitest, id: string): Task | undefined {
  return (vitest.state.idMap as unknown as Map<string, Task>).get(id)
}

/** Titles from the outermost suite down to the task; empty for a file. */
export function titles(task: Task): string[] {
  const out: string[] = []
  for (let t: Task | undefined = task; t && !('filepath' in t); t = t.suite) out.unshift(t.name)
  return out
}

/** All tasks below one, in order. */
export function* below(task: Task): Generator<Task> {
  for (const child of task.tasks ?? []) {
    yield child
    yield* below(child)
  }
}

/** An empty file task, for a file that hung before vitest heard of it. */
export async function createFileTask(project: TestProject, path: string, pool: string): Promise<FileTask> {
  const utils = (await import(pathToFileURL(join(project.vitest.distPath, 'task-utils.js')).href)) as {
    createFileTask(path: string, root: string, project: string | undefined, pool?: string): FileTask
  }
  const file = utils.createFileTask(path, project.config.root, project.config.name, pool)
  file.mode = 'run'
  return file
}

interface TransformedModule {
  transformResult?: { map?: unknown } | null
}

/** The source map of a file that vite transformed, in whichever environment it was. */
export function transformMap(project: TestProject, path: string): unknown {
  const environments = project.vite.environments as unknown as Record<
    string,
    {
      moduleGraph?: {
        getModuleById(id: string): TransformedModule | undefined
        getModulesByFile(file: string): Iterable<TransformedModule> | undefined
      }
    }
  >
  for (const environment of Object.values(environments)) {
    const graph = environment.moduleGraph
    if (!graph) continue
    for (const module of [graph.getModuleById(path), ...(graph.getModulesByFile(path) ?? [])]) {
      const map = module?.transformResult?.map as { mappings?: unknown } | null | undefined
      if (map?.mappings) return map
    }
  }
  return undefined
}

export type { PoolOptions, PoolWorker, TestProject, Vitest, WorkerRequest }
