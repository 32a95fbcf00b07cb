/** Speaks for a worker that was ended: results for what hung, what had finished and what could not run. */
import {
  below,
  createFileTask,
  type FileSpec,
  type FileTask,
  fileTasks,
  type MainRpc,
  type RunContext,
  type Task,
  type TaskEvent,
  type TaskPack,
  type TaskResult,
  type TestProject,
  titles,
} from '../compat.ts'
import type { Hang } from '../run.ts'
import { answer, isRpcRequest } from './rpc.ts'

export interface AfterHang {
  project: TestProject
  rpc: MainRpc
  context: RunContext
  hang: Hang
  mayRerun: boolean
  /** The filter of the re-run in which this hang happened. */
  earlier: RestFilter | undefined
}

const isOpen = (task: Task): boolean =>
  task.mode === 'run' && (!task.result || task.result.state === 'run' || task.result.state === 'queued')

/**
 * Reports the hang and decides about the rest of the file.
 * @returns the filter for a re-run of the rest, or undefined when nothing is left to run or re-running is off
 */
export async function afterHang({
  project,
  rpc,
  context,
  hang,
  mayRerun,
  earlier,
}: AfterHang): Promise<RestFilter | undefined> {
  const { evidence } = hang
  const path = evidence.file ?? context.files[0]!.filepath
  const name = evidence.context.base
  let file = fileTasks(project, path)[0]
  if (!file) {
    file = await createFileTask(project, path, name)
    await rpc.onQueued?.(...([file] as never[]))
  }
  const packs: TaskPack[] = []
  const events: TaskEvent[] = []
  const result: TaskResult = {
    state: 'fail',
    startTime: Date.now() - evidence.waitedMs,
    duration: evidence.waitedMs,
    errors: [hang.error],
  }
  const meta = (task: Task) => ({ ...task.meta, harrow: { hang: hang.summary } })
  const later = context.files.slice(context.files.findIndex((f) => f.filepath === path) + 1)

  if (evidence.phase === 'collect' || !file.tasks.length) {
    file.result = result
    file.meta = meta(file)
    await rpc.onCollected([file])
    await rpc.onTaskUpdate([[file.id, result, file.meta]], [[file.id, 'suite-failed-early', undefined]])
    return later.length > 0 && mayRerun ? new RestFilter(project, [], later, new Set()) : undefined
  }

  const all = [...below(file)]
  const finished = new Map(evidence.finished.map((f) => [f[0], f]))
  const hung = all.find((task) => task.id === evidence.test)
  // A hook of a suite takes the suite's remaining tests with it; without a test or a suite the file is to blame.
  const suite = hung ? undefined : (all.find((task) => task.id === evidence.suite) ?? file)
  const lostWithSuite = new Set(suite && suite !== file ? [...below(suite)].map((t) => t.id) : [])

  for (const task of all) {
    if (task.type !== 'test' || task === hung || !isOpen(task)) continue
    const done = finished.get(task.id)
    const state = (done?.[1] as { state?: string } | undefined)?.state
    if (done && state && state !== 'run') {
      packs.push([task.id, done[1] as TaskPack[1], (done[2] ?? {}) as Record<string, unknown>])
      events.push([task.id, 'test-prepare', undefined], [task.id, 'test-finished', undefined])
    }
  }
  if (hung) {
    packs.push([hung.id, { ...result, retryCount: 0 }, meta(hung)])
    events.push([hung.id, 'test-prepare', undefined], [hung.id, 'test-finished', undefined])
  } else if (suite && suite !== file) {
    packs.push([suite.id, result, meta(suite)])
    events.push([suite.id, 'suite-finished', undefined])
  }
  await rpc.onTaskUpdate(packs, events)

  const fileHook = suite === file && evidence.phase === 'hook'
  const open = all.filter((task) => task.type === 'test' && isOpen(task))
  const rest = fileHook ? [] : open.filter((task) => !lostWithSuite.has(task.id))
  const skipped = open.filter((task) => !rest.includes(task) || !mayRerun)
  const blame = hung
    ? titles(hung).join(' > ')
    : `${evidence.hook ?? evidence.phase}${suite && suite !== file ? ` of ${titles(suite).join(' > ')}` : ''}`
  const note = `not run: the worker was ended when "${blame}" hung`
  await rpc.onTaskUpdate(
    skipped.map((task): TaskPack => [task.id, { state: 'skip', note }, task.meta]),
    skipped.map((task): TaskEvent => [task.id, 'test-finished', undefined]),
  )

  const again = mayRerun ? rest : []
  const fileError = suite === file ? [hang.error] : undefined
  if (again.length === 0 && !(later.length > 0 && mayRerun)) {
    await finishFile(rpc, file, result, fileError, earlier)
    return undefined
  }
  if (again.length === 0) await finishFile(rpc, file, result, fileError, earlier)
  else if (fileError)
    file.result = { ...(file.result ?? { state: 'run' }), errors: [...(file.result?.errors ?? []), ...fileError] }
  const specs: FileSpec[] = context.files
    .filter((f) => f.filepath === path)
    .map((f) => ({ ...f, testIds: again.map((t) => t.id), testLocations: undefined, testNamePattern: undefined }))
  return new RestFilter(project, again.length > 0 ? specs : [], later, new Set(again.map((t) => t.id)))
}

async function finishFile(
  rpc: MainRpc,
  file: FileTask,
  result: TaskResult,
  errors: Hang['error'][] | undefined,
  earlier: RestFilter | undefined,
): Promise<void> {
  const pack: TaskPack = [file.id, { ...file.result, ...result, errors: errors ?? file.result?.errors }, file.meta]
  const events: TaskEvent[] = [[file.id, 'suite-finished', undefined]]
  await rpc.onTaskUpdate([pack], events)
  earlier?.closed.add(file.id)
}

/**
 * Stands between the worker that runs the rest of a file and vitest. vitest has the file already: a second collection
 * is swallowed, and what concerns tests that have their result is dropped.
 */
export class RestFilter {
  /** Files for the `run` request. */
  readonly files: FileSpec[]
  /** File ids that are reported as finished. */
  readonly closed = new Set<string>()
  readonly #project: TestProject
  readonly #rerun: Set<string>
  readonly #paths: Set<string>
  #resolveStarted: () => void = () => {}
  readonly #started = new Promise<void>((resolve) => {
    this.#resolveStarted = resolve
  })
  /** Answers to calls that are not passed on. */
  reply: (message: object) => void = () => {}

  constructor(project: TestProject, rerun: FileSpec[], later: FileSpec[], ids: Set<string>) {
    this.#project = project
    this.#rerun = ids
    this.#paths = new Set(rerun.map((f) => f.filepath))
    this.files = [...rerun, ...later]
  }

  started(): void {
    this.#resolveStarted()
  }

  whenStarted(): Promise<void> {
    return this.#started
  }

  /** A message of the worker as vitest may see it; undefined when it must not. */
  fromWorker(message: unknown): unknown {
    if (!isRpcRequest(message)) return message
    if (message.m === 'onQueued') {
      const [file] = message.a as [FileTask]
      return this.#isRerun(file) ? this.#swallow(message) : message
    }
    if (message.m === 'onCollected') {
      const [files] = message.a as [FileTask[]]
      return files.every((file) => this.#isRerun(file)) ? this.#swallow(message) : message
    }
    if (message.m !== 'onTaskUpdate') return message
    const [packs, events] = message.a as [TaskPack[], TaskEvent[]]
    return {
      ...message,
      a: [
        packs.map((pack) => this.#pack(pack)).filter((p) => p !== undefined),
        events.filter(([id, event]) => this.#wants(id, event)),
      ],
    }
  }

  #isRerun(file: FileTask): boolean {
    return this.#paths.has(file.filepath)
  }

  #swallow(message: Parameters<typeof answer>[0]): undefined {
    if (message.i) this.reply(answer(message, undefined))
    return undefined
  }

  #task(id: string): Task | undefined {
    return (this.#project.vitest.state.idMap as unknown as Map<string, Task>).get(id)
  }

  #wants(id: string, event?: string): boolean {
    const task = this.#task(id)
    if (!task) return false
    if (!this.#paths.has(task.file.filepath)) return true
    if (task.type === 'test') return this.#rerun.has(id)
    if ('filepath' in task) return event !== 'suite-prepare'
    return [...below(task)].some((t) => this.#rerun.has(t.id))
  }

  #pack([id, result, meta]: TaskPack): TaskPack | undefined {
    if (!this.#wants(id)) return undefined
    const task = this.#task(id)!
    if (task.type === 'test' || !this.#paths.has(task.file.filepath) || !result) return [id, result, meta]
    // The worker saw only the rest: a suite with a failure from before stays failed, with its errors.
    const failed = [...below(task)].some((t) => t.result?.state === 'fail') || task.result?.state === 'fail'
    const errors = [
      ...(task.result?.errors ?? []),
      ...(result.errors ?? []).filter((e) => !task.result?.errors?.includes(e)),
    ]
    const state =
      result.state === 'run'
        ? 'run'
        : failed || errors.length > 0
          ? 'fail'
          : result.state === 'skip'
            ? 'pass'
            : result.state
    return [id, { ...result, state, ...(errors.length > 0 && { errors }) }, { ...task.meta, ...meta }]
  }

  /** Nothing of the rest could be run. */
  async giveUp(rpc: MainRpc, note: string): Promise<void> {
    const tasks = [...this.#rerun].map((id) => this.#task(id)).filter((t) => t !== undefined)
    await rpc.onTaskUpdate(
      tasks.map((task): TaskPack => [task.id, { state: 'skip', note }, task.meta]),
      tasks.map((task): TaskEvent => [task.id, 'test-finished', undefined]),
    )
    for (const path of this.#paths) {
      for (const file of fileTasks(this.#project, path)) {
        const pack: TaskPack = [file.id, { ...file.result, state: 'fail' }, file.meta]
        await rpc.onTaskUpdate([pack], [[file.id, 'suite-finished', undefined]])
      }
    }
    this.started()
  }

  /** After the re-run: files that were cut off before are failed files. */
  async finished(rpc: MainRpc): Promise<void> {
    for (const path of this.#paths) {
      for (const file of fileTasks(this.#project, path)) {
        if (file.result?.state === 'fail' || ![...below(file)].some((t) => t.result?.state === 'fail')) continue
        await rpc.onTaskUpdate([[file.id, { ...file.result, state: 'fail' }, file.meta]], [])
      }
    }
  }
}
