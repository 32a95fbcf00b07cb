/** From what a worker reports to what people read: the user's line of a stack, and the test among several. Loaded when needed. */
import type { Frame } from '../src/dump/facts.ts'
import { Redactor } from '../src/dump/redact.ts'
import { createMapper, type Mapper } from '../src/dump/source-map.ts'
import type { Site } from '../src/errors.ts'
import type { RawFrame } from '../src/inspect/facts.ts'
import { below, fileTasks, type Task, type TestProject, taskById, titles, transformMap, type Vitest } from './compat.ts'
import type { Scope } from './protocol.ts'
import { testSource } from './test-source.ts'
import { isOwnScript, isUserScript } from './user-code.ts'

/** What is needed of a run. */
export interface BlameContext {
  vitest: Vitest
  root: string
  options: { redact: string[] }
  relative(path: string): string
}

/** Who did it. */
export interface Blamed {
  /** Test file, relative to the root; '' when not known. */
  file: string
  /** The one test; null for a hook of a suite, the top level of the file, or several tests that ran at once. */
  test: Task | null
  /** All tests that it can have been, when they ran at once. */
  among: Task[]
  /** Innermost line of the user's code; that of a package where there is none. */
  created: Frame | undefined
  /** For a sentence: `"stops the server"`, `the beforeAll hook`, `the top level of a.test.ts`. */
  who: string
}

export class Blame {
  readonly redactor: Redactor
  readonly #context: BlameContext
  readonly #mapper: Mapper
  readonly #project: TestProject

  constructor(context: BlameContext, project: TestProject) {
    this.#context = context
    this.#project = project
    this.#mapper = createMapper((path) => transformMap(project, path), context.root)
    this.redactor = new Redactor(context.options.redact)
  }

  /** The user's frames, innermost first. */
  frames(raw: readonly RawFrame[]): Frame[] {
    return raw
      .filter((frame) => frame.at !== null && isUserScript(frame.at.url))
      .map((frame) => this.#mapper.frame(frame))
      .filter((frame) => frame.user)
  }

  #ofPackage(raw: readonly RawFrame[]): Frame | undefined {
    const frame = raw.find((one) => one.at !== null && !one.at.url.startsWith('node:') && !isOwnScript(one.at.url))
    return frame && this.#mapper.frame(frame)
  }

  find(scope: Scope, raw: readonly RawFrame[]): Blamed {
    const frames = this.frames(raw)
    const file = scope.file === null ? '' : this.#context.relative(scope.file)
    const tasks = scope.tests.map((id) => taskById(this.#context.vitest, id)).filter((task) => task !== undefined)
    const test = tasks.length > 1 ? byLine(tasks, frames, file, scope.file) : (tasks[0] ?? null)
    const created = frames[0] ?? this.#ofPackage(raw)
    return { file, test, among: test === null ? tasks : [test], created, who: who(scope, test, tasks, file) }
  }

  /** Of what was started where nobody saw it, such as in a thread of the test's: the only test of the file that ran then. */
  during(path: string, at: number): Blamed | undefined {
    const ran = fileTasks(this.#project, path)
      .flatMap((file) => [...below(file)])
      .filter((task) => {
        const { startTime, duration = Number.POSITIVE_INFINITY } = task.result ?? {}
        if (task.type !== 'test' || startTime === undefined) return false
        return startTime <= at + START_ERROR_MS && at - START_ERROR_MS <= startTime + duration
      })
    if (ran.length !== 1) return undefined
    return this.find({ tests: [ran[0]!.id], hook: null, suite: null, phase: 'test', file: path }, [])
  }

  /** A stack for an error of the runner's, pointing at the user's lines. */
  stack(name: string, message: string, frames: readonly Frame[], fallback: Site): string {
    const line = (fn: string, site: Site): string =>
      `    at ${fn} (${this.#context.root}/${site.path}:${site.line}:${site.column ?? 1})`
    const lines = frames.slice(0, 10).map((frame) => line(frame.fn, frame.site))
    return `${name}: ${message}\n${(lines.length > 0 ? lines : [line('<anonymous>', fallback)]).join('\n')}`
  }
}

/** A process tells its start in hundredths of a second, and the machine its age alike. */
const START_ERROR_MS = 10

/** Of tests that ran at the same time: the one in whose lines the stack stands; null when that is not clear. */
function byLine(tasks: readonly Task[], frames: readonly Frame[], file: string, path: string | null): Task | null {
  if (path === null) return null
  const lines = frames.filter((frame) => frame.site.path === file).map((frame) => frame.site.line)
  const starts = tasks
    .map((task) => ({ task, line: task.location?.line ?? testSource(path, task.name)?.line }))
    .filter((start): start is { task: Task; line: number } => start.line !== undefined)
    .sort((a, b) => a.line - b.line)
  if (starts.length < tasks.length) return null
  // Outermost first: a helper above all tests says nothing, the test that called it does.
  for (const line of lines.reverse()) {
    const task = starts.findLast((start) => start.line <= line)?.task
    if (task) return task
  }
  return null
}

function who(scope: Scope, test: Task | null, among: readonly Task[], file: string): string {
  if (test) return `"${titles(test).join(' > ')}"`
  if (among.length > 1) return `one of ${among.length} tests that ran at once`
  if (scope.hook) return `the ${scope.hook} hook${file === '' ? '' : ` of ${file}`}`
  return scope.phase === 'collect' ? `the top level of ${file}` : file === '' ? 'a test' : file
}
