/** The zygotes of a run: one for each set of Node flags, environment variables, test environment and warm modules. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ZygoteClient } from '../../../src/spawn/zygote/client.ts'
import { loadForkCalls } from '../../../src/spawn/zygote/syscalls.ts'
import { MEMBER_ENV, SESSION_ENV } from '../../protocol.ts'
import { Birth, type WorkerOrder } from './birth.ts'
import { Channels } from './channels.ts'
import type { ForkedChild } from './forked-child.ts'
import { FACTS_ENV } from './task.ts'

/**
 * For the zygote and, since they are copies of it, its children: functions are compiled when a module is loaded and stay so,
 * else each child would compile anew what it calls first; and Node's own code lies in memory that a fork has in its tables, as
 * large pages where the kernel gives them.
 */
const NODE_FLAGS = ['--no-lazy', '--no-flush-bytecode', '--use-largepages=silent']

const ENTRY = fileURLToPath(new URL(`./entry${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))

export class Zygotes {
  readonly #zygotes = new Map<string, Promise<ZygoteClient>>()
  /** Of these, those that take orders. */
  readonly #ready = new Set<string>()
  #giveUp = new AbortController()
  #channels: Promise<Channels> | undefined
  #ended = false

  /** @throws Error that says why there is none, for a stock worker to take its place */
  async worker(order: WorkerOrder): Promise<ForkedChild> {
    const calls = loadForkCalls()
    if ('missing' in calls) throw new Error(calls.missing)
    if (!existsSync(ENTRY)) throw new Error('harrow is not installed whole: the entry of the pool is missing')
    this.#channels ??= Channels.open()
    const channels = await this.#channels
    return await new Birth(calls, channels, order, () => this.#zygoteFor(order)).child()
  }

  /** Is there one that needs not be waited for? */
  isReady(order: WorkerOrder): boolean {
    return this.#ready.has(keyOf(order))
  }

  /** Starts it, unless there is one or the run ends. @throws Error that says why there is none */
  async start(order: WorkerOrder): Promise<void> {
    const { signal } = this.#giveUp
    try {
      await this.#zygoteFor(order)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  #zygoteFor(order: WorkerOrder): Promise<ZygoteClient> | string {
    if (this.#ended) return 'the run is over'
    const { execArgv, facts } = order
    const key = keyOf(order)
    const known = this.#zygotes.get(key)
    if (known) return known
    const kind = { tree: '', execArgv: [...execArgv, ...NODE_FLAGS], warm: [], bare: true, entry: ENTRY }
    const variables = {
      ...commonOf(order),
      [FACTS_ENV]: JSON.stringify(facts),
      ...(facts.config.compileCache !== null && { HARROW_COMPILE_CACHE: facts.config.compileCache }),
    }
    const zygote = ZygoteClient.start(kind, variables, this.#giveUp.signal)
    this.#zygotes.set(key, zygote)
    const forget = (): void => {
      if (this.#zygotes.get(key) !== zygote) return
      this.#zygotes.delete(key)
      this.#ready.delete(key)
    }
    zygote.then(
      ({ closed }) => {
        if (this.#zygotes.get(key) === zygote) this.#ready.add(key)
        void closed.then(forget)
      },
      () => {},
    )
    return zygote
  }

  /** Ends all of them, and what they have forked; the next worker gets a new one unless the run is over. */
  async end(over: boolean): Promise<void> {
    this.#ended ||= over
    const all = [...this.#zygotes.values()]
    this.#zygotes.clear()
    this.#ready.clear()
    this.#giveUp.abort()
    this.#giveUp = new AbortController()
    await Promise.all(all.map((zygote) => zygote.then((one) => one.end()).catch(() => {})))
    if (!over) return
    const channels = this.#channels
    this.#channels = undefined
    await channels?.then((one) => one.close()).catch(() => {})
  }
}

/** Without what each member of the run has of its own. */
function commonOf({ env }: WorkerOrder): Record<string, string> {
  const { [SESSION_ENV]: _, [MEMBER_ENV]: __, ...common } = env
  return common
}

function keyOf(order: WorkerOrder): string {
  const { execArgv, facts, sticky } = order
  return JSON.stringify([execArgv, { ...facts, start: sticky }, commonOf(order)])
}
