/**
 * A zygote goes through a worker's whole life once, with a test file of ours, before it is forked: the environment is set up,
 * functions are compiled and have run, modules that vitest and Node load at first use are there. Children begin after that, in
 * the environment that is set up already.
 */
import { isDeepStrictEqual } from 'node:util'
import { answer, isRpcRequest, type RpcRequest } from '../rpc.ts'
import type { WorkerModule } from './enter.ts'

/** What vitest tells a worker at its start, as far as it is used here. */
export interface StartContext {
  environment: { name: string; options?: unknown }
  config: VitestConfig
}

interface VitestConfig {
  root: string
  environmentOptions?: unknown
  env?: Record<string, string>
  [key: string]: unknown
}

/** What `setup` of vitest's worker gets. */
export interface SetupContext extends StartContext {
  metaEnv: Record<string, string>
}

export type Teardown = () => Promise<void>

export interface DryRun {
  /** Takes back what the run has left that a child must not find. After this nothing of vitest's runs here any more. */
  settle(): void
  /** In a child: puts back what a worker has while it runs. */
  resume(): void
  /** In a child, in the place of vitest's `setup`: undefined when another environment is wanted. */
  environment(context: SetupContext): Teardown | undefined
  /** Takes the environment down. */
  teardown: Teardown
}

/** Written as vite would have transformed it. */
const CODE = `const vitest = await __vite_ssr_import__('vitest', { importedNames: ['expect', 'test'] })
const { describe, expect, test, vi, beforeEach, afterEach } = vitest
describe('dry', () => {
  beforeEach(() => {})
  afterEach(() => {})
  test('run', async () => {
    const called = vi.fn(() => 1)
    expect(called()).toBe(1)
    expect(called).toHaveBeenCalledOnce()
    expect({ a: [1, 'b'] }).toEqual({ a: [1, 'b'] })
    expect([1, 2]).toHaveLength(2)
    expect('abc').toMatch(/b/)
    expect(() => { throw new Error('dry') }).toThrow('dry')
    await expect(Promise.resolve(2)).resolves.toBe(2)
  })
})
`

const STATE = '__vitest_worker__'
/** vitest's state of each `expect`. */
const MATCHERS = Symbol.for('matchers-object')
const EXPECT = Symbol.for('expect-global')
const ERRORS = ['uncaughtException', 'unhandledRejection'] as const
/** Variables that each worker gets anew. */
const OWN_VARIABLES = /^VITEST_(POOL|WORKER)_ID$/

interface WorkerState {
  evaluatedModules?: { clear?(): void }
  moduleExecutionInfo?: Map<string, unknown>
}

/** @throws Error when vitest's worker does not go through it */
export async function dryRun(worker: WorkerModule, start: StartContext): Promise<DryRun> {
  const { exit } = process
  const env = { ...process.env }
  const restoreExpect = keepStateOfExpect()
  const before = ERRORS.map((name) => process.listeners(name as 'uncaughtException'))
  let teardown: Teardown = async () => {}

  const vitest = new Loopback(start.config.root)
  worker.init({
    post: (message: unknown) => vitest.hear(message),
    on: (listener: (message: unknown) => void) => void vitest.listeners.add(listener),
    off: (listener: (message: unknown) => void) => void vitest.listeners.delete(listener),
    teardown() {},
    runTests: (state: unknown, traces: unknown) => worker.runBaseTests('run', state, traces),
    collectTests: (state: unknown, traces: unknown) => worker.runBaseTests('collect', state, traces),
    async setup(context: unknown) {
      teardown = (await worker.setupEnvironment(context)) as Teardown
      return teardown
    },
  })
  const { environment } = start
  const context = { environment, config: dryConfig(start.config), pool: 'forks' }
  const options = { reportMemory: false }
  await vitest.request(
    { type: 'start', poolId: 0, workerId: 0, options, context, traces: { enabled: false } },
    'started',
  )
  const files = [{ filepath: vitest.file }]
  const run = { files, config: context.config, environment, workerId: 0, providedContext: {}, invalidates: [] }
  await vitest.request({ type: 'run', context: run }, 'testfileFinished')

  const guard = process.exit
  const listeners = ERRORS.map((name, i) =>
    process.listeners(name as 'uncaughtException').filter((one) => !before[i]!.includes(one)),
  )
  const variables = Object.entries(process.env).filter(
    ([name, value]) => env[name] !== value && !OWN_VARIABLES.test(name),
  )
  process.exit = exit
  ERRORS.forEach((name, i) => {
    for (const listener of listeners[i]!) process.off(name, listener)
  })

  return {
    teardown: () => teardown(),
    settle() {
      globals[STATE]?.moduleExecutionInfo?.clear()
      globals[STATE]?.evaluatedModules?.clear?.()
      delete globals[STATE]
      restoreExpect()
      vitest.listeners.clear()
    },
    resume() {
      process.exit = guard
      ERRORS.forEach((name, i) => {
        for (const listener of listeners[i]!) process.on(name, listener)
      })
      for (const [name, value] of variables) process.env[name] ??= value
    },
    environment({ environment: wanted, config, metaEnv }) {
      const same =
        wanted.name === environment.name &&
        isDeepStrictEqual(wanted.options, environment.options) &&
        isDeepStrictEqual(config.environmentOptions, start.config.environmentOptions)
      if (!same) return undefined
      for (const [name, value] of Object.entries(config.env ?? {})) metaEnv[name] = value
      return teardown
    },
  }
}

/** The main process, as the worker sees it. */
class Loopback {
  readonly listeners = new Set<(message: unknown) => void>()
  readonly file: string
  readonly #waiting = new Map<string, (error: unknown) => void>()

  constructor(root: string) {
    this.file = `${root}/harrow-dry-run.test.js`
  }

  /** @throws what the worker answers */
  async request(message: { type: string; [key: string]: unknown }, answerType: string): Promise<void> {
    const answered = new Promise<unknown>((resolve) => this.#waiting.set(answerType, resolve))
    this.#say({ ...message, __vitest_worker_request__: true })
    const error = await answered
    if (error) throw new Error(`vitest's worker refused ${message.type}: ${describe(error)}`)
  }

  hear(message: unknown): void {
    if (isRpcRequest(message)) {
      if (message.i !== undefined) setImmediate(() => this.#say(answer(message, this.#reply(message))))
      // vitest tells what has failed in the file as an event.
      return
    }
    const { type = '', error } = (message ?? {}) as { type?: string; error?: unknown }
    this.#waiting.get(type)?.(error)
  }

  #say(message: object): void {
    for (const listener of [...this.listeners]) listener(message)
  }

  #reply({ m: method, a: args }: RpcRequest): unknown {
    switch (method) {
      case 'fetch':
        if (args[0] !== this.file) return { externalize: args[0], type: 'module' }
        return { code: CODE, file: this.file, id: this.file, url: this.file, invalidate: false }
      case 'fetchWarmModules':
      case 'resolve':
        return null
      case 'resolveSnapshotPath':
        return `${this.file}.snap`
      case 'getCountOfFailedTests':
        return 0
      default:
        return undefined
    }
  }
}

/** Nothing of the user's is run, and nothing is written. */
function dryConfig(config: VitestConfig): VitestConfig {
  const { snapshotOptions, coverage, experimental, sequence } = config as Record<string, object>
  return {
    ...config,
    isolate: true,
    setupFiles: [],
    runner: undefined,
    snapshotSerializers: [],
    snapshotEnvironment: undefined,
    diff: undefined,
    coverage: { ...coverage, enabled: false },
    env: {},
    defines: {},
    serializedDefines: '',
    bail: 0,
    retry: 0,
    repeats: 0,
    testNamePattern: undefined,
    tagsFilter: undefined,
    tags: [],
    detectAsyncLeaks: false,
    inspect: undefined,
    inspectBrk: undefined,
    inspector: {},
    sequence: { ...sequence, shuffle: false, concurrent: false },
    snapshotOptions: { ...snapshotOptions, snapshotEnvironment: undefined, updateSnapshot: 'none' },
    experimental: { ...experimental, recordDependencies: false, openTelemetry: undefined },
  }
}

interface GlobalState {
  [MATCHERS]?: Map<unknown, object>
  [EXPECT]?: unknown
  [STATE]?: WorkerState
}

const globals = globalThis as GlobalState

/** @returns puts it back as it is now */
function keepStateOfExpect(): () => void {
  const state = globals[MATCHERS]?.get(globals[EXPECT])
  if (!state) return () => {}
  const properties = Object.getOwnPropertyDescriptors(state)
  return () => void globals[MATCHERS]?.set(globals[EXPECT], Object.defineProperties({}, properties))
}

function describe(error: unknown): string {
  const { stack, message } = error as { stack?: string; message?: string }
  return stack ?? message ?? String(error)
}
