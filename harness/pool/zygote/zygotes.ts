/** The zygotes of a run: one for each set of Node flags, environment variables, test environment and warm modules. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ZygoteClient } from '../../../src/spawn/zygote/client.ts'
import { makePipe, type OwnPipe } from '../../../src/spawn/zygote/life-pipe.ts'
import { orderChild } from '../../../src/spawn/zygote/order.ts'
import { type ForkCalls, loadForkCalls } from '../../../src/spawn/zygote/syscalls.ts'
import { MEMBER_ENV, SESSION_ENV } from '../../protocol.ts'
import { Channels, type Expected } from './channels.ts'
import { ForkedChild } from './forked-child.ts'
import { FACTS_ENV, type WorkerTask, type ZygoteFacts } from './task.ts'
import { makeWakePipe, type WakePipe } from './wake-pipe.ts'

/** What is asked for. */
export interface WorkerOrder {
  /** Node flags of a stock worker. */
  execArgv: readonly string[]
  env: Readonly<Record<string, string>>
  /** Arguments of a stock worker. */
  argv: readonly string[]
  facts: ZygoteFacts
  /** What of `facts.start` a zygote cannot do in another way later: with another one, another zygote is needed. */
  sticky: unknown
  /** Path of the state record, see `WorkerConfig`. */
  record: string | null
}

/** A child that dies at birth is forked twice more: no code of the user's has run. */
const RETRIES = 2
/**
 * For the zygote and, since they are copies of it, its children: functions are compiled when a module is loaded and stay so,
 * else each child would compile anew what it calls first.
 */
const V8_FLAGS = ['--no-lazy', '--no-flush-bytecode']

const ENTRY = fileURLToPath(new URL(`./entry${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))

export class Zygotes {
  readonly #clients = new Map<string, Promise<ZygoteClient>>()
  #channels: Promise<Channels> | undefined
  #ended = false

  /** @throws Error that says why there is none, for a stock worker to take its place */
  async worker(order: WorkerOrder): Promise<ForkedChild> {
    const calls = loadForkCalls()
    if ('missing' in calls) throw new Error(calls.missing)
    if (!existsSync(ENTRY)) throw new Error('harrow is not installed whole: the entry of the pool is missing')
    this.#channels ??= Channels.open()
    const birth = new Birth(calls, await this.#channels, order)
    return await birth.child(() => this.#zygoteFor(order))
  }

  #zygoteFor({ execArgv, env, facts, sticky }: WorkerOrder): Promise<ZygoteClient> {
    if (this.#ended) return Promise.reject(new Error('the run is over'))
    // Its children are members of the run, each with a label of its own.
    const { [SESSION_ENV]: _, [MEMBER_ENV]: __, ...common } = env
    const key = JSON.stringify([execArgv, { ...facts, start: sticky }, common])
    let client = this.#clients.get(key)
    if (!client) {
      const kind = { tree: '', execArgv: [...execArgv, ...V8_FLAGS], warm: [], bare: true, entry: ENTRY }
      client = ZygoteClient.start(kind, {
        ...common,
        [FACTS_ENV]: JSON.stringify(facts),
        ...(facts.config.compileCache !== null && { HARROW_COMPILE_CACHE: facts.config.compileCache }),
      })
      this.#clients.set(key, client)
      const forget = (): void => {
        if (this.#clients.get(key) === client) this.#clients.delete(key)
      }
      client.then(
        ({ closed }) => closed.then(forget),
        () => {},
      )
    }
    return client
  }

  /** Ends all of them, and what they have forked; the next worker gets a new one unless the run is over. */
  async end(over: boolean): Promise<void> {
    this.#ended ||= over
    const all = [...this.#clients.values()]
    this.#clients.clear()
    await Promise.all(all.map((one) => one.then((client) => client.end()).catch(() => {})))
    if (!over) return
    const channels = this.#channels
    this.#channels = undefined
    await channels?.then((one) => one.close()).catch(() => {})
  }
}

/** One worker, from the order to its connection; it is told the end of its child as long as that lives. */
class Birth {
  readonly #calls: ForkCalls
  readonly #channels: Channels
  readonly #order: WorkerOrder
  /** Of the newest attempt. */
  #expected: Expected | undefined
  #output: [OwnPipe, OwnPipe] | undefined

  constructor(calls: ForkCalls, channels: Channels, order: WorkerOrder) {
    this.#calls = calls
    this.#channels = channels
    this.#order = order
  }

  async child(zygote: () => Promise<ZygoteClient>): Promise<ForkedChild> {
    const { env } = this.#order
    const wake = makeWakePipe(this.#calls)
    const up = Promise.withResolvers<'up'>()
    const { result } = orderChild(
      {
        zygote,
        order: () => ({
          task: this.#task(wake),
          env: { ...env },
          cwd: process.cwd(),
          umask: process.umask(),
          stay: false,
        }),
        output: (calls) => this.#openOutput(calls),
        retries: RETRIES,
      },
      { born() {}, gone() {}, up: () => up.resolve('up') },
    )
    const over = result.then((end) => {
      wake.close()
      this.#expected?.forget()
      return end
    })
    const first = await Promise.race([up.promise, over])
    if (first !== 'up') {
      throw first.kind === 'failed' ? new Error(first.why) : (first.exit.error ?? new Error('it ended at its birth'))
    }
    // It has connected before it said that it is up.
    const { socket, pid } = await this.#expected!.connection
    const [out, err] = this.#output!
    const child = new ForkedChild(pid, socket, out.stream, err.stream, () => wake.wake())
    void over.then((end) => {
      if (end.kind === 'exit') child.ended(end.exit.code, end.exit.signal)
      else child.ended(null, 'SIGKILL')
    })
    return child
  }

  #task(wake: WakePipe): WorkerTask {
    const { argv, execArgv, record } = this.#order
    this.#expected?.forget()
    this.#expected = this.#channels.expect()
    const { token } = this.#expected
    return {
      channel: this.#channels.path,
      token,
      argv: [...argv],
      execArgv: [...execArgv],
      record,
      wake: wake.in,
    }
  }

  #openOutput(calls: ForkCalls) {
    this.#output = [makePipe(calls), makePipe(calls)]
    const [out, err] = this.#output
    return {
      stdout: out.out,
      stderr: err.out,
      letGo() {
        out.letGo()
        err.letGo()
      },
    }
  }
}
