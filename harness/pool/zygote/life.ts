/** The life of a worker of tests that was forked from a zygote: what `harness/worker/entry.ts` is to one that was started anew. */
import childProcess from 'node:child_process'
import { readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Life } from '../../../src/spawn/zygote/child.ts'
import { takeChannel } from '../../worker/globals.ts'
import { type Start, start } from '../../worker/start.ts'
import { loadConnect } from './connect.ts'
import { FACTS_ENV, greetingOf, type WorkerTask, type ZygoteFacts } from './task.ts'
import { prepareWake } from './wake.ts'

/** Of `vitest/worker`, as far as it is used here. */
interface WorkerModule {
  init(worker: object): void
  runBaseTests(method: 'run' | 'collect', state: unknown, traces: unknown): Promise<unknown>
  setupEnvironment(context: unknown): unknown
}

/** Chunks that vitest's worker imports only when it runs; their names end in a hash. */
const LATE_CHUNKS = /^(console|node|globals)\.[\w-]+\.js$/

/** Loads what every worker loads. */
export async function loadLife(): Promise<Life> {
  const facts = JSON.parse(process.env[FACTS_ENV] ?? '{}') as ZygoteFacts
  const file = (name: string): string => pathToFileURL(join(facts.vitest, name)).href
  const worker = (await import(file('worker.js'))) as WorkerModule
  const vitest = (await import(file('index.js'))) as Start['vitest']
  for (const name of readdirSync(join(facts.vitest, 'chunks'))) {
    if (LATE_CHUNKS.test(name)) await import(file(`chunks/${name}`))
  }
  await warmUp(facts)
  const connect = loadConnect()
  const arm = prepareWake()
  const notes: string[] = []
  if ('missing' in arm) notes.push(`a loop that never ends shows no stack in a forked worker: ${arm.missing}`)

  return {
    begin({ task }, pid) {
      const { channel, token, argv, execArgv } = task as WorkerTask
      process.title = 'node (vitest)'
      process.argv = [process.execPath, ...argv]
      process.execArgv = execArgv
      const fd = connect(channel)
      writeSync(fd, greetingOf(token, pid))
      openChannel(fd)
      takeChannel()
    },
    async live({ task }) {
      const { config, wake } = task as WorkerTask
      if (typeof arm === 'function') {
        try {
          arm(wake)
        } catch (error) {
          notes.push(`a loop that never ends shows no stack: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
      await start({ config, vitest, notes, enter: () => enter(worker) })
    },
  }
}

/** Modules that fail here fail in the test files that import them, which say more about it. */
async function warmUp({ vitest, environment, warm }: ZygoteFacts): Promise<void> {
  const parent = pathToFileURL(join(vitest, 'index.js')).href
  for (const name of environment) {
    await attempt(() => import(import.meta.resolve(name, parent)))
  }
  for (const path of warm) await attempt(() => import(pathToFileURL(path).href))
}

async function attempt(load: () => Promise<unknown>): Promise<void> {
  try {
    await load()
  } catch {
    // See above.
  }
}

/** What a forked Node does with `NODE_CHANNEL_FD` before its first module: `process.send`, `process.on('message')`. */
function openChannel(fd: number): void {
  const open = (childProcess as unknown as { _forkChild?(fd: number, serialization: string): void })._forkChild
  if (typeof open !== 'function') throw new Error('this Node has no child_process._forkChild')
  open(fd, 'advanced')
}

/** As `workers/forks.js` of vitest, which cannot be loaded before there is a channel. */
function enter({ init, runBaseTests, setupEnvironment }: WorkerModule): void {
  const exit = process.exit.bind(process)
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
    runTests: (state: unknown, traces: unknown) => runBaseTests('run', state, traces),
    collectTests: (state: unknown, traces: unknown) => runBaseTests('collect', state, traces),
    setup: setupEnvironment,
  })
}
