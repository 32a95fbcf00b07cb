/**
 * A zygote goes through a worker's whole life once, with a test file of ours, before it is forked: the environment is set up,
 * functions are compiled and have run, modules that vitest and Node load at first use are there. Children begin after that, in
 * the environment that is set up already.
 */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { placeSocket } from '../../../src/spawn/zygote/socket.ts'
import { answer, isRpcRequest, type RpcRequest } from '../rpc.ts'
import { loadConnect } from './connect.ts'
import type { WorkerModule } from './enter.ts'
import { Frames, frame } from './frames.ts'

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

const RUNS = 2

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

/**
 * @param take makes a descriptor the channel of this process and enters vitest's worker, with this as its `setup`
 * @throws Error when vitest's worker does not go through it
 */
export async function dryRun(
  worker: WorkerModule,
  start: StartContext,
  take: (fd: number, setup: (context: SetupContext) => Promise<Teardown>) => void,
): Promise<DryRun> {
  const { exit } = process
  const env = { ...process.env }
  const restoreExpect = keepStateOfExpect()
  const before = listenersOf()
  let teardown: Teardown = async () => {}

  const main = await MainProcess.open(start.config.root)
  take(main.fd, async (context) => {
    teardown = (await worker.setupEnvironment(context)) as Teardown
    return teardown
  })
  const { environment } = start
  const context = { environment, config: dryConfig(start.config), pool: 'forks' }
  const options = { reportMemory: false }
  // Functions then note from their first call on what they work with, and the second run is that of a child.
  setFlagsFromString('--no-lazy-feedback-allocation')
  await main.request({ type: 'start', poolId: 0, workerId: 0, options, context, traces: { enabled: false } }, 'started')
  const files = [{ filepath: main.file }]
  const run = { files, config: context.config, environment, workerId: 0, providedContext: {}, invalidates: [] }
  for (let n = 0; n < RUNS; n++) await main.request({ type: 'run', context: run }, 'testfileFinished')
  setFlagsFromString('--lazy-feedback-allocation')

  // Node loads what this needs when it is called first, which would be in each child: 2 of its 20 ms.
  isDeepStrictEqual([{ a: 1 }], [{ a: 1 }])

  const guard = process.exit
  process.exit = exit
  const added = takeListeners(before)
  await main.close()
  const variables = Object.entries(process.env).filter(
    ([name, value]) => env[name] !== value && !OWN_VARIABLES.test(name),
  )

  return {
    teardown: () => teardown(),
    settle() {
      globals[STATE]?.moduleExecutionInfo?.clear()
      globals[STATE]?.evaluatedModules?.clear?.()
      delete globals[STATE]
      restoreExpect()
    },
    resume() {
      process.exit = guard
      for (const name of ERRORS) for (const listener of added.get(name) ?? []) process.on(name, listener as () => void)
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

type Listeners = Map<string | symbol, unknown[]>

function listenersOf(): Listeners {
  return new Map(process.eventNames().map((name) => [name, process.rawListeners(name as string)]))
}

/** Removes those that have been added. */
function takeListeners(before: Listeners): Listeners {
  const added: Listeners = new Map()
  // First what would hear of the others' removal.
  const names = [...process.eventNames()].sort((a) => (a === 'removeListener' ? -1 : 0))
  for (const name of names) {
    const more = process.rawListeners(name as string).filter((one) => !before.get(name)?.includes(one))
    for (const listener of more) process.off(name, listener as () => void)
    added.set(name, more)
  }
  return added
}

/** The main process, as the worker sees it. */
class MainProcess {
  readonly file: string
  /** Of the worker's end of the channel. */
  readonly fd: number
  readonly #server: Server
  readonly #socket: Socket
  readonly #waiting = new Map<string, (error: unknown) => void>()

  private constructor(root: string, server: Server, socket: Socket, fd: number) {
    this.file = `${root}/harrow-dry-run.test.js`
    this.fd = fd
    this.#server = server
    this.#socket = socket
    const frames = new Frames()
    socket.on('data', (piece: Buffer) => {
      for (const message of frames.take(piece)) this.#hear(message)
    })
  }

  static async open(root: string): Promise<MainProcess> {
    const server = createServer()
    const path = await placeSocket(server)
    const connected = once(server, 'connection') as Promise<[Socket]>
    const fd = loadConnect()(path)
    const [socket] = await connected
    rmSync(path)
    return new MainProcess(root, server, socket, fd)
  }

  /** @throws what the worker answers */
  async request(message: { type: string; [key: string]: unknown }, answerType: string): Promise<void> {
    const answered = new Promise<unknown>((resolve) => this.#waiting.set(answerType, resolve))
    this.#say({ ...message, __vitest_worker_request__: true })
    const error = await answered
    if (error) throw new Error(`vitest's worker refused ${message.type}: ${describe(error)}`)
  }

  /** Both ends of the channel are closed, and nothing is left of it. */
  async close(): Promise<void> {
    const closed = Promise.all([once(this.#socket, 'close'), once(this.#server, 'close')])
    process.disconnect?.()
    this.#server.close()
    await closed
    for (const name of ['send', '_send', 'disconnect', '_disconnect', 'connected', 'channel', '_channel']) {
      delete (process as unknown as Record<string, unknown>)[name]
    }
  }

  #hear(message: unknown): void {
    if (isRpcRequest(message)) {
      // vitest tells what has failed in the file as an event.
      if (message.i !== undefined) this.#say(answer(message, this.#reply(message)))
      return
    }
    const { type = '', error } = (message ?? {}) as { type?: string; error?: unknown }
    this.#waiting.get(type)?.(error)
  }

  #say(message: object): void {
    this.#socket.write(frame(message))
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
