/** What vitest's own entry does (`workers/forks.js`), which cannot be loaded before there is a channel. */
import type { SetupContext, Teardown } from './dry-run.ts'

/** Of `vitest/worker`, as far as it is used here. */
export interface WorkerModule {
  init(worker: object): void
  runBaseTests(method: 'run' | 'collect', state: unknown, traces: unknown): Promise<unknown>
  setupEnvironment(context: unknown): unknown
}

// Before vitest replaces it.
const exit = process.exit.bind(process)

export interface Entry {
  /** The environment, where it is set up already; undefined: vitest sets it up. */
  setup(context: SetupContext): Promise<Teardown> | Teardown | undefined | Promise<undefined>
  /**
   * A file is over, and vitest is about to hear of it.
   *
   * @param over nothing is to be done when the worker is stopped
   * @returns what is said beside
   */
  finished?(over: boolean): object
}

export function enter({ init, runBaseTests, setupEnvironment }: WorkerModule, { setup, finished }: Entry): void {
  const send = process.send!.bind(process)
  const on = process.on.bind(process)
  const off = process.off.bind(process)
  const removeAllListeners = process.removeAllListeners.bind(process)
  const onError = (error: NodeJS.ErrnoException): void => {
    if (error?.code === 'ERR_IPC_CHANNEL_CLOSED' || error?.code === 'EPIPE') exit(1)
  }
  const onDisconnect = (): void => exit(1)
  on('error' as never, onError as never)
  on('disconnect', onDisconnect)
  let early = false
  let cleans = false
  const run = (method: 'run' | 'collect', state: State, traces: unknown): Promise<unknown> => {
    // The time that it has taken in the zygote is not this worker's.
    if (early) Object.defineProperty(state.durations, 'environment', { enumerable: true, get: () => 0, set() {} })
    const { onCleanup } = state
    // What fixtures of the worker have left for its end.
    state.onCleanup = (listener) => {
      cleans = true
      onCleanup(listener)
    }
    return runBaseTests(method, state, traces)
  }
  init({
    post(message: { type?: unknown }) {
      const isEnd = message?.type === 'testfileFinished' && finished !== undefined
      send(isEnd ? { ...message, ...finished(early && !cleans) } : message)
    },
    on: (callback: NodeJS.MessageListener) => on('message', callback),
    off: (callback: NodeJS.MessageListener) => off('message', callback),
    teardown() {
      removeAllListeners('message')
      off('error', onError as never)
      off('disconnect', onDisconnect)
      process.exit = exit
    },
    runTests: (state: State, traces: unknown) => run('run', state, traces),
    collectTests: (state: State, traces: unknown) => run('collect', state, traces),
    async setup(context: SetupContext) {
      const teardown = await setup(context)
      early = teardown !== undefined
      return teardown ?? setupEnvironment(context)
    },
  })
}

interface State {
  durations: { environment: number }
  onCleanup(listener: () => unknown): void
}
