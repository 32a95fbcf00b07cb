/** The birth of a worker: an order to its zygote, its output, its connection. */
import type { ZygoteClient } from '../../../src/spawn/zygote/client.ts'
import { makePipe, type OwnPipe } from '../../../src/spawn/zygote/life-pipe.ts'
import { orderChild } from '../../../src/spawn/zygote/order.ts'
import type { ForkCalls } from '../../../src/spawn/zygote/syscalls.ts'
import type { Channels, Expected } from './channels.ts'
import { ForkedChild } from './forked-child.ts'
import type { WorkerTask, ZygoteFacts } from './task.ts'
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
/** One worker, from the order to its connection; it is told the end of its child as long as that lives. */
export class Birth {
  readonly #calls: ForkCalls
  readonly #channels: Channels
  readonly #order: WorkerOrder
  readonly #find: () => Promise<ZygoteClient> | string
  /** Of the newest attempt. */
  #expected: Expected | undefined
  #output: [OwnPipe, OwnPipe] | undefined

  /** @param find its zygote, or why there is none */
  constructor(calls: ForkCalls, channels: Channels, order: WorkerOrder, find: () => Promise<ZygoteClient> | string) {
    this.#calls = calls
    this.#channels = channels
    this.#order = order
    this.#find = find
  }

  /** @throws Error that says why there is none */
  async child(): Promise<ForkedChild> {
    const { env } = this.#order
    const wake = makeWakePipe(this.#calls)
    const up = Promise.withResolvers<'up'>()
    const { result } = orderChild(
      {
        zygote: () => this.#client(),
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

  async #client(): Promise<ZygoteClient> {
    const found = this.#find()
    if (typeof found === 'string') throw new Error(found)
    return await found
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
