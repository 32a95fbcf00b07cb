/**
 * A fork shares all of the zygote's pages again, and what it does next, the next order, is a fault at the first touch of each; in
 * a virtual machine with shadowed page tables also where it only reads. So when a child was forked ahead it takes an order from
 * itself, to no effect, while nobody waits: a third of the time from an order to a child that has it.
 */
import { Socket } from 'node:net'
import { clearTimer, setTimer } from '../../process/clean.ts'
import { type Order, onMessages, type Reply, type Request, say } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

const NOWHERE = { path: '/dev/null' }
/** It takes a millisecond. Who has not practised by then waits for its order all the same. */
const LIMIT_MS = 1000

/**
 * In a child that waits for its order: takes one from itself, as it will from the zygote.
 *
 * @param env as long as that of an order
 */
export async function practiseOrder(calls: ForkCalls, env: Record<string, string>): Promise<void> {
  const ends = connectedPair(calls)
  if (!ends) return
  const [near, far] = ends
  await new Promise<void>((resolve) => {
    const timer = setTimer(resolve, LIMIT_MS)
    onMessages<Order>(far, () => {
      clearTimer(timer)
      resolve()
    })
    say(near, orderOf(env))
  })
  near.destroy()
  far.destroy()
}

export class Practice {
  readonly #near: Socket
  readonly #order: Order

  private constructor(near: Socket, order: Order) {
    this.#near = near
    this.#order = order
  }

  /**
   * @param env as long as that of an order
   * @param take does what an order takes, to no effect
   * @returns undefined without descriptors
   */
  static begin(calls: ForkCalls, env: Record<string, string>, take: (order: Order) => void): Practice | undefined {
    const ends = connectedPair(calls)
    if (!ends) return undefined
    const [near, far] = ends
    for (const end of ends) end.unref()
    onMessages<Reply>(near, () => {})
    onMessages<Request>(far, ({ id, order }) => {
      take(order)
      say(far, { type: 'born', id, pid: process.pid })
    })
    return new Practice(near, orderOf(env))
  }

  once(): void {
    say(this.#near, { type: 'fork', id: 0, order: this.#order })
  }
}

function orderOf(env: Record<string, string>): Order {
  return { task: {}, env, cwd: '/', umask: 0, stdout: NOWHERE, stderr: NOWHERE, life: NOWHERE, stay: false }
}

/** undefined without descriptors. */
function connectedPair(calls: ForkCalls): [Socket, Socket] | undefined {
  const pair = calls.socketPair()
  if (!pair) return undefined
  const open = (fd: number): Socket => new Socket({ fd, readable: true, writable: true }).on('error', () => {})
  return [open(pair.ours), open(pair.theirs)]
}
