/**
 * A fork shares all of the zygote's pages again, and what it does next, the next order, is a fault at the first touch of each; in
 * a virtual machine with shadowed page tables also where it only reads. So when a child was forked ahead it takes an order from
 * itself, to no effect, while nobody waits: a third of the time from an order to a child that has it.
 */
import { Socket } from 'node:net'
import { type Order, onMessages, type Reply, type Request, say } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

const NOWHERE = { path: '/dev/null' }

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
    const pair = calls.socketPair()
    if (!pair) return undefined
    const [near, far] = [pair.ours, pair.theirs].map((fd) => new Socket({ fd, readable: true, writable: true }))
    for (const end of [near!, far!]) end.on('error', () => {}).unref()
    onMessages<Reply>(near!, () => {})
    onMessages<Request>(far!, ({ id, order }) => {
      take(order)
      say(far!, { type: 'born', id, pid: process.pid })
    })
    const stay = { stdout: NOWHERE, stderr: NOWHERE, life: NOWHERE, stay: false }
    return new Practice(near!, { task: {}, env, cwd: process.cwd(), umask: process.umask(), ...stay })
  }

  once(): void {
    say(this.#near, { type: 'fork', id: 0, order: this.#order })
  }
}
