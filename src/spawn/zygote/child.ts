/** From the moment after fork(2) to a life of its own. Everything up to the first byte is synchronous. */
import { closeSync, writeSync } from '../../process/clean.ts'
import { adoptExit, adoptPid, dropListeners, replaceMathRandom } from './adopt.ts'
import { closeInherited, openOut, StaleOrder } from './descriptors.ts'
import type { HotPages } from './hot-pages.ts'
import type { Inherited } from './inherited.ts'
import { type EnvironmentBlock, replaceEnvironment, showEnvironment } from './memory.ts'
import { LIFE, type Order } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

/** What a child is for: an actor, a worker of tests. */
export interface Life {
  /** Before anything else, in the place of {@link HotPages.copyAhead}. */
  first?(order: Order): void
  /**
   * Title, arguments, Node flags, whatever else says who it is. Synchronous, in the midst of the zygote's turn; what it throws
   * is told to whoever has ordered the child.
   */
  begin(order: Order, pid: number, zygote: Zygote): void
  /** In the zygote, before it takes orders: does what children will do, so that V8 compiles it once for all of them. */
  rehearse?(): Promise<void>
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
  hot: HotPages
  block: EnvironmentBlock | undefined
  /** Its variables. */
  env: Readonly<Record<string, string>>
  /** Sixteen random bytes for this child alone. */
  seed: Buffer
  entry: string
}

/** Makes this process, which was the zygote a moment ago, the child that was ordered. Throws nothing. */
export function becomeChild(zygote: Zygote, order: Order, { first, begin, live }: Life): void {
  const { calls } = zygote
  let life: number | undefined
  try {
    first?.(order)
    if (calls.adoptLoop() !== 0) throw new Error(`libuv's loop could not be taken over: ${calls.lastError()}`)
    calls.setsid()
    const pid = adoptPid(calls)
    dropListeners()
    zygote.inherited.drop()
    // As long as nothing of its own has taken one of these numbers.
    closeInherited(calls, zygote.fds, zygote.nodeFds)
    life = openOut(order.life)
    const alive = life
    adoptExit(calls, (code) => {
      tell(alive, `${LIFE.exit}${code}\n`)
      zygote.hot.tell()
    })
    takeOutput(calls, order)
    process.umask(order.umask)
    process.chdir(order.cwd)
    replaceEnvironment(order.env, zygote.env)
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

/** In the zygote: calls what a birth calls and a zygote does not, without effect, so that V8 has compiled it. */
export function rehearseBirth(calls: ForkCalls, block: EnvironmentBlock | undefined): void {
  const env = process.env as Record<string, string>
  for (let n = 0; n < REHEARSALS; n++) {
    const nowhere = openOut({ path: '/dev/null' })
    calls.dup2(nowhere, nowhere)
    tell(nowhere, LIFE.up)
    closeInherited(calls, new Map([[nowhere, '/dev/null']]), new Map())
    process.umask(process.umask())
    process.chdir(process.cwd())
    replaceEnvironment(env, env)
    showEnvironment(env, block)
  }
}

/** The first time V8 compiles, the second time it notes what is used. */
const REHEARSALS = 2

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
