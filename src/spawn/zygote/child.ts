/** From the moment after fork(2) to a life of its own. Everything up to the first byte is synchronous. */
import { closeSync, writeSync } from 'node:fs'
import { adoptExit, adoptPid, dropListeners, replaceMathRandom } from './adopt.ts'
import { closeInherited, openOut, StaleOrder } from './descriptors.ts'
import type { Inherited } from './inherited.ts'
import { type EnvironmentBlock, replaceEnvironment, showEnvironment } from './memory.ts'
import { LIFE, type Order } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

/** What a child is for: an actor, a worker of tests. */
export interface Life {
  /**
   * Title, arguments, Node flags, whatever else says who it is. Synchronous, in the midst of the zygote's turn; what it throws
   * is told to whoever has ordered the child.
   */
  begin(order: Order, pid: number, zygote: Zygote): void
  /** From a turn of the loop of its own. */
  live(order: Order): Promise<void>
}

/** What the zygote knows of itself, for the child to undo. */
export interface Zygote {
  calls: ForkCalls
  /** Descriptors before its first module, and right before the fork. */
  nodeFds: ReadonlyMap<number, string>
  fds: ReadonlyMap<number, string>
  inherited: Inherited
  block: EnvironmentBlock | undefined
  /** Sixteen random bytes for this child alone. */
  seed: Buffer
  entry: string
}

/** Makes this process, which was the zygote a moment ago, the child that was ordered. Throws nothing. */
export function becomeChild(zygote: Zygote, order: Order, { begin, live }: Life): void {
  const { calls } = zygote
  let life: number | undefined
  try {
    if (calls.adoptLoop() !== 0) throw new Error(`libuv's loop could not be taken over: ${calls.lastError()}`)
    calls.setsid()
    const pid = adoptPid(calls)
    dropListeners()
    zygote.inherited.drop()
    life = openOut(order.life)
    const alive = life
    adoptExit(calls, (code) => tell(alive, `${LIFE.exit}${code}\n`))
    takeOutput(calls, order)
    closeInherited(zygote.fds, zygote.nodeFds, new Set([0, 1, 2, life]))
    process.umask(order.umask)
    process.chdir(order.cwd)
    replaceEnvironment(order.env)
    showEnvironment(order.env, zygote.block)
    begin(order, pid, zygote)
    replaceMathRandom(zygote.seed)
    tell(life, `${LIFE.up}\n`)
  } catch (error) {
    if (life !== undefined && !(error instanceof StaleOrder)) tell(life, `${LIFE.wrong}${failureOf(error)}\n`)
    calls.exitNow(1)
  }
  // Not here: we are in the midst of the zygote's turn.
  setImmediate(() => void live(order))
}

function takeOutput(calls: ForkCalls, { stdout, stderr }: Order): void {
  const same = stdout.path === stderr.path
  const out = openOut(stdout)
  const err = same ? out : openOut(stderr)
  calls.dup2(out, 1)
  calls.dup2(err, 2)
  calls.makeBlocking(1)
  calls.makeBlocking(2)
  closeSync(out)
  if (!same) closeSync(err)
}

function tell(life: number, text: string): void {
  try {
    writeSync(life, text)
  } catch {
    // Whoever ordered us is gone.
  }
}

function failureOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException
  return JSON.stringify({ message: message ?? String(error), code })
}
