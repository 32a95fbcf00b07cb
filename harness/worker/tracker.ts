/**
 * Knows what the worker is doing: which file, suite, test, hook, and since when. It patches the runner class of vitest
 * before vitest makes its runner (every touch point is listed in `harness/compat.ts`), and tells the state record at
 * each transition.
 */
import type { FinishedTest, RunningTest, Scope, Section, WorkerPhase, WorkerState } from '../protocol.ts'
import { collectOwner, hookOwner, testOwner } from '../protocol.ts'
import { type AroundEvents, watchAroundHooks } from './around-hooks.ts'
import { currentConcurrent, runConcurrent } from './concurrent.ts'
import { type BoundedSection, watchDeadlines } from './deadline-watch.ts'
import { now, setImmediate } from './globals.ts'
import { harrowOwner } from './owner.ts'
import {
  type Runner,
  type RunnerClass,
  SUITE_HOOKS,
  type Suite,
  type Task,
  TEST_HOOKS,
  type Trace,
  type TrackerEvents,
} from './runner.ts'
import { leaveVitestTimers } from './safe-timers.ts'

export class Tracker {
  readonly state: WorkerState = {
    seq: 0,
    at: now(),
    phase: 'start',
    file: null,
    suite: null,
    hook: null,
    running: [],
    sections: [],
    crumb: null,
  }
  /** Tasks that ended lately; `finished()` hands out their results. */
  readonly #done: { task: Task; at: number }[] = []
  readonly #suites: string[] = []
  readonly #events: TrackerEvents
  /** The test whose body is being entered right now: `_deadline` is set synchronously below `runTask`. */
  #entering: Task | null = null
  #tasks = new Map<string, Task>()
  #pendingBetween = false
  /** A test has ended and nothing else has run since. */
  #adjacent = false
  /** Whether a suite or one above it has `aroundEach` hooks. */
  readonly #around = new WeakMap<Suite, boolean>()
  #hooksOf: RunnerClass['getSuiteHooks']

  constructor(events: TrackerEvents) {
    this.#events = events
  }

  /** What was seen until now was the doing of another process, of which this one is a copy. */
  restart(): void {
    const fresh = { seq: 0, at: now(), phase: 'start', file: null, suite: null, hook: null, crumb: null } as const
    Object.assign(this.state, fresh, { running: [], sections: [] })
    for (const list of [this.#done, this.#suites]) list.length = 0
    for (const known of [this.#tasks, this.#hung, this.#scopes]) known.clear()
    this.#pendingBetween = false
    this.#adjacent = false
    this.#scopeSeq = -1
  }

  /** Results of tests that ended in the last second before the present ones began: vitest reports every 100 ms. */
  finished(): FinishedTest[] {
    const since = Math.min(this.state.at, ...this.state.running.map((r) => r.start)) - 1000
    return this.#done.filter((d) => d.at >= since).map(({ task }) => [task.id, task.result, task.meta])
  }

  /** Label of what is running, as far as it is one thing. */
  owner(): string | null {
    const { phase, file, hook, suite, running } = this.state
    if (phase === 'collect' && file) return collectOwner(file)
    if (running.length === 1) return testOwner(running[0]!.id)
    if (phase === 'hook' && running.length === 0 && hook) return hookOwner(hook, suite)
    return null
  }

  readonly #scopes = new Map<string, Scope>()

  #scopeOf(test: string): Scope {
    const known = this.#scopes.get(test)
    if (known) return known
    const scope: Scope = { tests: [test], hook: null, suite: null, phase: 'test', file: this.state.file }
    this.#scopes.set(test, scope)
    return scope
  }

  readonly #hung = new Set<string>()

  /** Tests whose limit has passed. */
  hung(): string[] {
    return [...this.#hung]
  }

  #scope: Scope = { tests: [], hook: null, suite: null, phase: 'start', file: null }
  #scopeSeq = -1

  /** What runs now, for whoever makes something; the same object until something else runs. */
  scope(): Scope {
    const one = currentConcurrent()
    if (one !== undefined) return this.#scopeOf(one)
    const { seq, running, phase, hook, suite, file } = this.state
    if (this.#scopeSeq !== seq || this.#scope.tests.length !== running.length || this.#scope.phase !== phase) {
      this.#scopeSeq = seq
      this.#scope = { tests: running.map((test) => test.id), hook, suite, phase, file }
    }
    return this.#scope
  }

  /** True for `test.fails`: its timeout is what the test wants. */
  expectsFailure(id: string | null): boolean {
    return id !== null && this.#tasks.get(id)?.fails === true
  }

  to(phase: WorkerPhase, hook: string | null = null): void {
    this.state.phase = phase
    this.state.hook = hook
    this.#change()
  }

  #quietly(phase: WorkerPhase, hook: string | null): void {
    this.state.seq++
    this.state.phase = phase
    this.state.hook = hook
    this.state.at = now()
  }

  /**
   * After a test the next one follows at once, and writes. Only when the loop turns in between does the record need to
   * say that no test runs: one write per test instead of two.
   */
  #betweenSoon(): void {
    this.#quietly('between', null)
    if (this.#pendingBetween) return
    this.#pendingBetween = true
    setImmediate(() => {
      this.#pendingBetween = false
      this.#adjacent = false
      if (this.state.phase === 'between') this.#events.changed(this.state)
    }).unref()
  }

  #change(): void {
    this.state.seq++
    this.state.at = now()
    this.#events.changed(this.state)
  }

  /** Patches the class; answers with what could not be patched. */
  install(runnerClass: RunnerClass): string[] {
    const notes: string[] = []
    const tracker = this
    this.#hooksOf = runnerClass.getSuiteHooks
    const prototype = runnerClass.prototype as Record<string, unknown>
    const seen = new WeakSet<object>()

    const adopt = (runner: Runner): void => {
      if (seen.has(runner)) return
      seen.add(runner)
      const { trace } = runner
      if (typeof trace !== 'function') return
      runner.trace = (name, attributes, cb) => tracker.#span(trace, name, attributes, cb)
    }

    // Called on the fresh instance before vitest captures its methods.
    wrap(prototype, '__setTraces', notes, function (this: Runner) {
      adopt(this)
    })
    wrap(prototype, 'onBeforeRunSuite', notes, function (this: Runner, suite) {
      adopt(this)
      const task = suite as Task
      watchAroundHooks(tracker.#hooksOf?.(suite as Suite), tracker.#aroundEvents(task.id))
      if (tracker.#suites.at(-1) !== task.id) tracker.#suites.push(task.id)
      tracker.state.suite = task.id
    })
    wrap(prototype, 'onAfterRunSuite', notes, function (this: Runner, suite) {
      const at = tracker.#suites.lastIndexOf((suite as Task).id)
      if (at >= 0) tracker.#suites.splice(at, 1)
      tracker.state.suite = tracker.#suites.at(-1) ?? null
      if ('filepath' in (suite as Suite)) return tracker.#events.fileEnd?.(suite as object, this)
    })
    wrap(prototype, 'onBeforeRunTask', notes, (test) => {
      tracker.#tasks.set((test as Task).id, test as Task)
    })

    if (!('runTask' in prototype)) {
      prototype.runTask = (test: Task) =>
        tracker.#body(test, () => {
          const fn = runnerClass.getTestFn(test)
          if (!fn) throw new Error('Test function is not found. Did you add it using `setFn`?')
          return fn()
        })
    }

    watchDeadlines(prototype, (timeout) => this.#open(timeout))
    return notes
  }

  #span(trace: Trace, name: string, attributes: unknown, cb?: () => unknown): unknown {
    const body = (cb ?? attributes) as () => unknown
    const attribute = (key: string): string | null => {
      const value = cb ? (attributes as Record<string, unknown>)[key] : undefined
      return typeof value === 'string' ? value : null
    }
    const run = (wrapped: () => unknown): unknown => trace(name, cb ? attributes : wrapped, cb ? wrapped : undefined)

    if (name === 'collect_spec') {
      leaveVitestTimers()
      const file = attribute('code.file.path')
      this.state.file = file
      this.#done.length = 0
      for (const known of [this.#tasks, this.#hung, this.#scopes]) known.clear()
      this.to('collect')
      const owner = collectOwner(file ?? '')
      return run(() => this.#watched(owner, body, () => this.to('between')))
    }
    if (name === 'run.spec') {
      this.state.file = attribute('code.file.path') ?? this.state.file
      this.to('between')
      return run(body)
    }
    if (name === 'run.test') {
      const id = attribute('vitest.test.id')
      if (id === null) return run(body)
      return run(() => {
        const promise = harrowOwner(testOwner(id), () => this.#test(id, body))
        this.#events.body?.(testOwner(id), promise)
        return promise
      })
    }
    const suiteHook = SUITE_HOOKS[name]
    if (suiteHook) {
      const suite = this.state.suite
      return run(() => {
        this.to('hook', suiteHook)
        return this.#watched(hookOwner(suiteHook, suite), body, () => this.to('between'))
      })
    }
    const testHook = TEST_HOOKS[name]
    if (testHook) {
      return run(() => {
        // No record yet: most tests have no such hook, and one with a limit makes its section, and with it a record.
        if (this.state.running.length === 1) this.#quietly('hook', testHook)
        const ended = (): void => {
          if (this.state.running.length === 1) this.#afterBody()
        }
        const result = body()
        if (isThenable(result)) result.then(ended, ended)
        return result
      })
    }
    return run(body)
  }

  /** Runs `body` under an owner mark and tells when it ended, however it ended. */
  #watched(owner: string, body: () => unknown, ended: () => void): Promise<unknown> {
    const promise = harrowOwner(owner, body)
    this.#events.body?.(owner, promise)
    const over = (): void => {
      ended()
      this.#events.between?.()
    }
    promise.then(over, over)
    return promise
  }

  #test(id: string, body: () => unknown): unknown {
    if (!this.#adjacent && this.state.running.length === 0) this.#events.between?.()
    const running: RunningTest = { id, start: now() }
    this.state.running.push(running)
    if (this.state.running.length === 1) this.#quietly('test', null)
    const ended = (): void => {
      const at = this.state.running.indexOf(running)
      if (at >= 0) this.state.running.splice(at, 1)
      const task = this.#tasks.get(id)
      if (task) this.#remember(task)
      this.#events.testEnd?.(id)
      this.#adjacent = true
      if (this.state.running.length === 0) this.#betweenSoon()
    }
    const result = body()
    if (isThenable(result)) result.then(ended, ended)
    else ended()
    return result
  }

  /**
   * Behind the body and its hooks come fixtures, for which vitest has no limit, and with them the end of `aroundEach`,
   * which has its own, or the pause before a retry. Only fixtures are held to the teardown limit.
   */
  #afterBody(): void {
    const task = this.#tasks.get(this.state.running[0]!.id)
    const others = task !== undefined && (pausesBetweenTries(task) || this.#hasAroundEach(task.suite ?? task.file))
    this.#quietly(others ? 'test' : 'teardown', null)
  }

  /** Hooks around tests belong to their test, those around a suite to that. */
  #aroundEvents(suite: string): AroundEvents {
    return {
      opened: (name, timeout) => {
        const { running } = this.state
        const one = running.length === 1
        if (name === 'aroundAll') this.to('hook', name)
        else if (one) this.#quietly('hook', name)
        const owner = name === 'aroundAll' ? hookOwner(name, suite) : one ? testOwner(running[0]!.id) : null
        const test = name === 'aroundEach' && one ? running[0]!.id : null
        const section: Section = { test, hook: name, start: now(), timeout }
        return this.#bounded(section, owner, () => {
          if (this.state.hook === name) this.#quietly(name === 'aroundAll' ? 'between' : 'test', null)
        })
      },
      run: (name, body) =>
        name === 'aroundAll' ? harrowOwner(hookOwner(name, suite), async () => await body()) : body(),
    }
  }

  #hasAroundEach(suite: Suite): boolean {
    let known = this.#around.get(suite)
    if (known === undefined) {
      const parent = 'filepath' in suite ? undefined : (suite.suite ?? suite.file)
      known =
        (this.#hooksOf?.(suite)?.aroundEach?.length ?? 0) > 0 || (parent !== undefined && this.#hasAroundEach(parent))
      this.#around.set(suite, known)
    }
    return known
  }

  #remember(task: Task): void {
    if (this.#done.length >= 512) this.#done.splice(0, 256)
    this.#done.push({ task, at: now() })
  }

  #body(test: Task, run: () => unknown): unknown {
    this.#entering = test
    this.state.phase = 'test'
    this.state.hook = null
    // A bounded test makes its section, and with it this record, synchronously below.
    if (!((test.timeout ?? 0) > 0) || test.timeout === Number.POSITIVE_INFINITY) this.#change()
    try {
      return test.concurrent === true ? runConcurrent(test.id, run) : run()
    } finally {
      this.#entering = null
    }
  }

  #open(timeout: number): BoundedSection {
    const running = this.state.running
    const inBody = this.#entering !== null
    const test = this.#entering?.id ?? (running.length === 1 ? running[0]!.id : null)
    const hook = inBody ? null : this.state.hook
    const owner = test !== null ? testOwner(test) : hook ? hookOwner(hook, this.state.suite) : this.owner()
    return this.#bounded({ test, hook, start: now(), timeout }, owner, () => {
      if (inBody && running.length === 1 && this.state.phase === 'test') this.#afterBody()
    })
  }

  /** A stretch of code that has a limit: in the record until it is over. */
  #bounded(section: Section, owner: string | null, over: () => void): BoundedSection {
    this.state.sections.push(section)
    this.#change()
    return {
      closed: () => {
        const at = this.state.sections.indexOf(section)
        if (at < 0) return
        this.state.sections.splice(at, 1)
        over()
      },
      overdue: () => {
        if (section.test !== null) this.#hung.add(section.test)
        return this.#events.overdue(section, owner)
      },
    }
  }
}

/** A promise is waited for before the method itself runs. */
type Before = (this: Runner, first: unknown) => Promise<void> | undefined | void

function wrap(prototype: Record<string, unknown>, name: string, notes: string[], before: Before): void {
  const original = prototype[name]
  if (typeof original !== 'function') {
    notes.push(`vitest's TestRunner has no method ${name}`)
    return
  }
  prototype[name] = function (this: Runner, ...args: unknown[]) {
    const first = before.call(this, args[0])
    return first ? first.then(() => original.apply(this, args)) : original.apply(this, args)
  }
}

function pausesBetweenTries({ retry }: Task): boolean {
  return typeof retry === 'object' && (retry?.delay ?? 0) > 0
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
