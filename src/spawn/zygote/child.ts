/** From the moment after fork(2) to a life of its own. Everything up to the first byte is synchronous. */
import { Socket } from 'node:net'
import { constants } from 'node:os'
import { closeSync, setTurn, writeSync } from '../../process/clean.ts'
import { adoptExit, adoptPid, dropListeners, replaceMathRandom } from './adopt.ts'
import { closeInherited, openOut, StaleOrder } from './descriptors.ts'
import type { HotPages, Telling } from './hot-pages.ts'
import type { Inherited } from './inherited.ts'
import { type EnvironmentBlock, replaceEnvironment, showEnvironment } from './memory.ts'
import { practiseOrder } from './practice.ts'
import { LIFE, type Order, onMessages } from './protocol.ts'
import { READY } from './spares.ts'
import type { ForkCalls } from './syscalls.ts'

/** What a child is for: an actor, a worker of tests. */
export interface Life {
  /** When its children tell which pages they need. */
  telling: Telling
  /**
   * Title, arguments, Node flags, whatever else says who it is. Synchronous, in the midst of the zygote's turn; what it throws
   * is told to whoever has ordered the child.
   */
  begin(order: Order, pid: number, zygote: Zygote): void
  /** One child is forked ahead. */
  hasSpares?: boolean
  /**
   * Does what children will do: in the zygote, so that V8 compiles it once for all of them, and in a spare, so that it has its
   * pages. Leaves nothing behind and never rejects.
   */
  rehearse?(): Promise<void>
  /** From a turn of the loop of its own. */
  live(order: Order, zygote: Zygote): Promise<void>
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
export function becomeChild(zygote: Zygote, order: Order, life: Life): void {
  try {
    lead(adopt(zygote), order, life)
  } catch {
    zygote.calls.exitNow(1)
  }
}

/**
 * Makes this process, which was the zygote a moment ago, one that waits for its order. Throws nothing.
 *
 * @param fd its end of the pair of sockets on which the order comes
 */
export function becomeSpare(zygote: Zygote, fd: number, life: Life): void {
  const { calls } = zygote
  try {
    const child = adopt(zygote, fd)
    // Until it has an order it is nothing without its zygote.
    calls.deathSignal(constants.signals.SIGKILL)
    process.title = 'harrow zygote (spare)'
    // Not here: we are in the midst of the zygote's turn.
    setTurn(async () => {
      try {
        rehearseBirth(calls, zygote.block)
      } catch {
        // Its directory is gone: its order names another.
      }
      await life.rehearse?.()
      await practiseOrder(calls, zygote.env)
      const zygoteSide = new Socket({ fd, readable: true, writable: true })
      zygoteSide.on('error', () => {})
      zygoteSide.once('close', () => {
        if (!child.isLed) calls.exitNow(0)
      })
      onMessages<Order>(zygoteSide, (order) => {
        child.isLed = true
        calls.deathSignal(0)
        zygoteSide.destroy()
        lead(child, order, life)
      })
      zygoteSide.write(READY)
    })
  } catch {
    calls.exitNow(1)
  }
}

/** A process of its own, which is nobody yet. */
interface Child {
  zygote: Zygote
  pid: number
  exit: { last?: (code: number) => void }
  isLed: boolean
}

/** @throws Error when the loop cannot be taken over */
function adopt(zygote: Zygote, keep?: number): Child {
  const { calls } = zygote
  if (calls.adoptLoop() !== 0) throw new Error(`libuv's loop could not be taken over: ${calls.lastError()}`)
  calls.setsid()
  const pid = adoptPid(calls)
  dropListeners()
  zygote.inherited.drop()
  // As long as nothing of its own has taken one of these numbers.
  closeInherited(calls, zygote.fds, zygote.nodeFds, keep)
  replaceMathRandom(zygote.seed)
  return { zygote, pid, exit: adoptExit(calls), isLed: false }
}

/** It becomes what was ordered. Throws nothing. */
function lead({ zygote, pid, exit }: Child, order: Order, { begin, live }: Life): void {
  const { calls } = zygote
  let life: number | undefined
  try {
    life = openOut(order.life)
    const alive = life
    exit.last = (code) => {
      tell(alive, `${LIFE.exit}${code}\n`)
      zygote.hot.tell()
    }
    takeOutput(calls, order)
    process.umask(order.umask)
    process.chdir(order.cwd)
    replaceEnvironment(order.env, zygote.env)
    showEnvironment(order.env, zygote.block)
    begin(order, pid, zygote)
    tell(life, `${LIFE.up}\n`)
  } catch (error) {
    if (life !== undefined && !(error instanceof StaleOrder)) tell(life, `${LIFE.wrong}${failureOf(error)}\n`)
    calls.exitNow(1)
  }
  // Not here: we may be in the midst of the zygote's turn.
  setTurn(() => void live(order, zygote))
}

/**
 * Calls what a birth calls and a zygote does not, without effect: in the zygote, so that V8 has compiled it, and in a child that
 * waits for its order, so that it has its pages.
 */
export function rehearseBirth(calls: ForkCalls, block: EnvironmentBlock | undefined): void {
  const env = process.env as Record<string, string>
  const nowhere = openOut({ path: '/dev/null' })
  calls.dup2(nowhere, nowhere)
  tell(nowhere, LIFE.up)
  closeInherited(calls, new Map([[nowhere, '/dev/null']]), new Map())
  process.umask(process.umask())
  process.chdir(process.cwd())
  replaceEnvironment(env, env)
  showEnvironment(env, block)
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
