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

/** @param ready the environment, where it is set up already */
export function enter(
  { init, runBaseTests, setupEnvironment }: WorkerModule,
  ready: (context: SetupContext) => Teardown | undefined | Promise<undefined>,
): void {
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
  const run = (method: 'run' | 'collect', state: unknown, traces: unknown): Promise<unknown> => {
    // The time that it has taken in the zygote is not this worker's.
    if (early) hideTime(state as State)
    return runBaseTests(method, state, traces)
  }
  init({
    post: (message: unknown) => send(message),
    on: (callback: NodeJS.MessageListener) => on('message', callback),
    off: (callback: NodeJS.MessageListener) => off('message', callback),
    teardown() {
      removeAllListeners('message')
      off('error', onError as never)
      off('disconnect', onDisconnect)
      process.exit = exit
    },
    runTests: (state: unknown, traces: unknown) => run('run', state, traces),
    collectTests: (state: unknown, traces: unknown) => run('collect', state, traces),
    async setup(context: SetupContext) {
      const teardown = await ready(context)
      early = teardown !== undefined
      return teardown ?? setupEnvironment(context)
    },
  })
}

interface State {
  durations: { environment: number }
}

function hideTime({ durations }: State): void {
  Object.defineProperty(durations, 'environment', { enumerable: true, get: () => 0, set() {} })
}
