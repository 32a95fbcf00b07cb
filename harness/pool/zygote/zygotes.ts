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

  #zygoteFor({ execArgv, env, facts, sticky }: WorkerOrder): Promise<ZygoteClient> | string {
    if (this.#ended) return 'the run is over'
    // Its children are members of the run, each with a label of its own.
    const { [SESSION_ENV]: _, [MEMBER_ENV]: __, ...common } = env
    const key = JSON.stringify([execArgv, { ...facts, start: sticky }, common])
    const known = this.#zygotes.get(key)
    if (known) return known
    const kind = { tree: '', execArgv: [...execArgv, ...NODE_FLAGS], warm: [], bare: true, entry: ENTRY }
    const zygote = ZygoteClient.start(kind, {
      ...common,
      [FACTS_ENV]: JSON.stringify(facts),
      ...(facts.config.compileCache !== null && { HARROW_COMPILE_CACHE: facts.config.compileCache }),
    })
    this.#zygotes.set(key, zygote)
    const forget = (): void => {
      if (this.#zygotes.get(key) === zygote) this.#zygotes.delete(key)
    }
    zygote.then(
      ({ closed }) => closed.then(forget),
      () => {},
    )
    return zygote
  }

  /** Ends all of them, and what they have forked; the next worker gets a new one unless the run is over. */
  async end(over: boolean): Promise<void> {
    this.#ended ||= over
    const all = [...this.#zygotes.values()]
    this.#zygotes.clear()
    await Promise.all(all.map((zygote) => zygote.then((one) => one.end()).catch(() => {})))
    if (!over) return
    const channels = this.#channels
    this.#channels = undefined
    await channels?.then((one) => one.close()).catch(() => {})
  }
}
