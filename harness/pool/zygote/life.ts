/** The life of a worker of tests that was forked from a zygote: what `harness/worker/entry.ts` is to one that was started anew. */
import childProcess from 'node:child_process'
import { readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { deserialize, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Life, Zygote } from '../../../src/spawn/zygote/child.ts'
import { takeChannel } from '../../worker/globals.ts'
import { makeSide, type VitestModule } from '../../worker/side.ts'
import { loadConnect } from './connect.ts'
import { type DryRun, dryRun, type SetupContext, type StartContext, type Teardown } from './dry-run.ts'
import { enter, type WorkerModule } from './enter.ts'
import { watchSideEffects } from './side-effects.ts'
import { FACTS_ENV, greetingOf, OVER, type Unsafe, UnsafeImports, type WorkerTask, type ZygoteFacts } from './task.ts'
import { prepareWake } from './wake.ts'

/** Chunks that vitest's worker imports only when it runs; their names end in a hash. */
const LATE_CHUNKS = /^(console|node|globals)\.[\w-]+\.js$/

type Setup = (context: SetupContext) => Promise<Teardown>

const CALM_MS = 1000

/** Loads what every worker loads, and does what every worker does alike. */
export async function loadLife(): Promise<Life> {
  const facts = JSON.parse(process.env[FACTS_ENV] ?? '{}') as ZygoteFacts
  delete process.env[FACTS_ENV]
  const file = (name: string): string => pathToFileURL(join(facts.vitest, name)).href
  // First, as in a worker that was started anew: what is loaded below is seen.
  const notes: string[] = []
  const side = makeSide(facts.config, notes)
  const worker = (await import(file('worker.js'))) as WorkerModule
  const vitest = (await import(file('index.js'))) as VitestModule
  side.watch(vitest)
  for (const name of readdirSync(join(facts.vitest, 'chunks'))) {
    if (LATE_CHUNKS.test(name)) await import(file(`chunks/${name}`))
  }
  await loadEnvironment(facts)
  const take = (fd: number, setup: Setup): void => {
    openChannel(fd)
    takeChannel()
    enter(worker, { setup })
    side.greet()
  }
  const dry = facts.start === null ? undefined : await dryRun(worker, startContext(facts.start), take)
  takeChannel()
  await loadWarm(facts, vitest)
  if (dry) await calm()
  dry?.settle()
  const connect = loadConnect()
  const arm = prepareWake()
  if ('missing' in arm) notes.push(`a loop that never ends shows no stack in a forked worker: ${arm.missing}`)

  collectGarbage()

  let hot: Zygote['hot']
  return {
    telling: { after: 'itself', files: true },
    begin({ task }, pid, zygote) {
      hot = zygote.hot
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
      const { record, wake } = task as WorkerTask
      if (typeof arm === 'function') {
        try {
          arm(wake)
        } catch (error) {
          notes.push(`a loop that never ends shows no stack: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
      // SIGUSR1 then opens the inspector on a free port instead of 9229.
      process.debugPort = 0
      side.forget()
      side.begin(record)
      dry?.resume()
      enter(worker, {
        setup: (context) => environmentOf(dry, context),
        finished(over) {
          // One that tells its pages ends in an orderly way, which writes the compile cache.
          if (!hot.isToTell) return { [OVER]: over }
          hot.tell()
          return {}
        },
      })
      side.greet()
    },
  }
}

/** vitest reports at most every 100 ms, by a timer. One that stays is told by whoever is to fork. */
async function calm(): Promise<void> {
  const deadline = performance.now() + CALM_MS
  while (process.getActiveResourcesInfo().includes('Timeout') && performance.now() < deadline) {
    // One with a reference would be among them.
    await new Promise((resolve) => setTimeout(resolve, 5).unref())
  }
}

/** Else the children do it, each of them, and write to pages that they share. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  setFlagsFromString('--no-expose-gc')
  gc()
  gc()
}

function environmentOf(dry: DryRun | undefined, context: SetupContext): Teardown | Promise<undefined> | undefined {
  return dry?.environment(context) ?? dry?.teardown().then(() => undefined)
}

const startContext = (bytes: string): StartContext => deserialize(Buffer.from(bytes, 'base64')) as StartContext

/** Modules that fail here fail in the test files that import them, which say more about it. */
async function loadEnvironment({ vitest, environment }: ZygoteFacts): Promise<void> {
  const parent = pathToFileURL(join(vitest, 'index.js')).href
  for (const name of environment) {
    await attempt(() => import(import.meta.resolve(name, parent)))
  }
}

/** @throws UnsafeImports */
async function loadWarm({ vitest, warm }: ZygoteFacts, api: object): Promise<void> {
  const unsafe: Unsafe[] = []
  for (const path of warm) {
    const ended = watchSideEffects(path, vitest, api)
    await attempt(() => import(pathToFileURL(path).href))
    const effect = ended()
    if (effect) unsafe.push({ path, ...effect })
  }
  if (unsafe.length > 0) throw new UnsafeImports(unsafe)
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
