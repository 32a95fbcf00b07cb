/** A zygote as those see it that ask it for children. One for all actors of a tree that want the same of it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { closeSync, existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { clearTimer, setTimer } from '../../process/clean.ts'
import { runtimeDir } from '../../process/runtime-dir.ts'
import { lateAfter } from '../../wire/late.ts'
import { atRuntimeEnd } from '../at-runtime-end.ts'
import { entryPath } from '../entry-path.ts'
import { OutputTail } from '../output.ts'
import {
  ACTOR_ZYGOTE_FLAGS,
  type Order,
  onMessages,
  type Reply,
  ROOM_ENV,
  SPARE_ENV,
  say,
  ZYGOTE_ENV,
  ZYGOTE_FLAGS,
} from './protocol.ts'

/** What a zygote must have in common with whoever asks it. */
export interface ZygoteKind {
  tree: string
  execArgv: readonly string[]
  warm: readonly string[]
  /** Without what actors' modules import, for a first trial. */
  bare?: boolean
  /** It forks no child ahead. */
  spareless?: boolean
  /** Path of its first module; by default that of the zygote of actors. */
  entry?: string
}

/** What becomes of an order. */
export interface OrderEvents {
  born(pid: number): void
  refused(why: string): void
  /** As the zygote collected it. */
  exit(code: number | null, signal: number | null): void
  /** There is no zygote any more; nothing else comes. */
  lost(why: string): void
}

/** Loading a warm list takes its time; one that never ends is given up. */
const START_MS = 60_000
/** In its environment, for those of its children, which may be longer than its own. */
const ROOM_BYTES = 8192
/** From the end of its connection to SIGKILL. */
const END_MS = 1000

export class ZygoteClient {
  readonly path: string
  readonly pid: number
  readonly closed: Promise<string>
  readonly #socket: Socket
  readonly #child: ChildProcess | undefined
  readonly #orders = new Map<number, OrderEvents>()
  #next = 1
  #open = true

  private constructor(socket: Socket, path: string, pid: number, child?: ChildProcess) {
    this.#socket = socket
    this.path = path
    this.pid = pid
    this.#child = child
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#open = false
        const why = `the zygote (pid ${pid}) is gone`
        for (const order of this.#orders.values()) order.lost(why)
        this.#orders.clear()
        resolve(why)
      })
    })
  }

  /**
   * Starts one.
   *
   * @param signal ends one that is not ready yet
   * @throws Error with what it said
   */
  static async start(
    kind: ZygoteKind,
    env: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<ZygoteClient> {
    const tail = new OutputTail({ mode: 'file', path: join(runtimeDir(), `zygote-${randomUUID().slice(0, 8)}.log`) })
    const fd = tail.open()
    const child = spawn(
      process.execPath,
      [
        ...kind.execArgv,
        ...(kind.entry === undefined ? ACTOR_ZYGOTE_FLAGS : ZYGOTE_FLAGS),
        kind.entry ?? entryPath('zygote'),
        ...(kind.bare ? [] : defaultWarm()),
        ...kind.warm,
      ],
      {
        // Ctrl-C at a terminal is the root's.
        detached: true,
        env: { ...zygoteEnv(env), ...((kind.bare || kind.spareless) && { [SPARE_ENV]: 'off' }) },
        stdio: ['ignore', 'ignore', fd ?? 'ignore', 'pipe'],
      },
    )
    if (fd !== undefined) closeSync(fd)
    const socket = child.stdio[3] as Socket
    socket.on('error', () => {})
    starting.add(child)
    const giveUp = (): void => void child.kill('SIGKILL')
    signal?.addEventListener('abort', giveUp)
    if (signal?.aborted) giveUp()
    try {
      const { path, pid } = await firstReply(child, socket, tail)
      const client = new ZygoteClient(socket, path, pid, child)
      client.#listen()
      void client.closed.then(() => tail.dispose(false))
      return client
    } catch (error) {
      child.kill('SIGKILL')
      tail.dispose(false)
      throw error
    } finally {
      starting.delete(child)
      signal?.removeEventListener('abort', giveUp)
      child.unref()
      socket.unref()
    }
  }

  /** Asks one that runs already. @throws Error when nobody is there */
  static async connect(path: string, pid: number): Promise<ZygoteClient> {
    const socket = connect(path)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    socket.on('error', () => {})
    const client = new ZygoteClient(socket, path, pid)
    client.#listen()
    socket.unref()
    return client
  }

  #listen(): void {
    onMessages<Reply>(this.#socket, (reply) => {
      if (!('id' in reply)) return
      const order = this.#orders.get(reply.id)
      if (reply.type === 'born') order?.born(reply.pid)
      else {
        this.#orders.delete(reply.id)
        if (reply.type === 'refused') order?.refused(reply.why)
        else order?.exit(reply.code, reply.signal)
      }
    })
  }

  get isOpen(): boolean {
    return this.#open
  }

  /** Within the very event, so before anybody whose order is lost can ask again. */
  atClose(then: () => void): void {
    if (this.#open) this.#socket.once('close', then)
    else then()
  }

  order(order: Order, events: OrderEvents): void {
    if (!this.#open) {
      events.lost('the zygote is gone')
      return
    }
    const id = this.#next++
    this.#orders.set(id, events)
    say(this.#socket, { type: 'fork', id, order })
  }

  /** Ends it, when this process has started it; else only the connection. */
  async end(): Promise<void> {
    const child = this.#child
    this.#socket.end()
    if (!child) {
      this.#socket.destroy()
      return
    }
    if (child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    const exited = new Promise((resolve) => child.once('exit', resolve))
    const timer = setTimer(() => child.kill('SIGKILL'), END_MS)
    await exited
    clearTimer(timer)
    this.#socket.destroy()
  }
}

async function firstReply(
  child: ChildProcess,
  socket: Socket,
  tail: OutputTail,
): Promise<{ path: string; pid: number }> {
  let inTime = (): void => {}
  try {
    return await new Promise((resolve, reject) => {
      const said = (): string => (tail.tail() === '' ? '' : `:\n${tail.tail()}`)
      inTime = lateAfter(START_MS, () => reject(new Error(`the zygote was not ready within ${START_MS} ms${said()}`)))
      child.once('error', reject)
      child.once('exit', (code, signal) =>
        reject(new Error(`the zygote ended before it was ready (${signal ?? `exit code ${code}`})${said()}`)),
      )
      onMessages<Reply>(socket, (reply) => {
        if (reply.type === 'ready') resolve(reply)
        else if (reply.type === 'failed') reject(new Error(`the zygote could not start: ${reply.why}`))
      })
    })
  } finally {
    inTime()
    socket.removeAllListeners('data')
  }
}

/** What nearly every actor's module imports: the package itself. */
function defaultWarm(): string[] {
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  for (const place of [`../../index.${ending}`, `./index.${ending}`]) {
    const url = new URL(place, import.meta.url)
    if (existsSync(fileURLToPath(url))) return [url.href]
  }
  return []
}

/** Labels of one actor are not the zygote's: it would be taken for something that this actor has left. */
function zygoteEnv(env: Readonly<Record<string, string>>): Record<string, string> {
  const { HARROW_LINEAGE: _, [ZYGOTE_ENV]: __, ...rest } = env
  return { ...rest, [ROOM_ENV]: '_'.repeat(ROOM_BYTES) }
}

/** Not ready yet: nobody waits for these at the end. */
const starting = new Set<ChildProcess>()
const clients = new Map<string, Promise<ZygoteClient>>()

/**
 * The zygote of a kind: ours, the one that has made this process, else a new one (R-631, R-635).
 *
 * @throws Error when none can be started
 */
export function zygoteFor(kind: ZygoteKind, env: Readonly<Record<string, string>>): Promise<ZygoteClient> {
  const key = keyOf(kind)
  let client = clients.get(key)
  if (!client) {
    client = find(key, kind, env)
    clients.set(key, client)
    const forget = (): void => {
      if (clients.get(key) === client) clients.delete(key)
    }
    client.then((one) => one.atClose(forget), forget)
    atRuntimeEnd(endZygotes)
  }
  return client
}

async function find(key: string, kind: ZygoteKind, env: Readonly<Record<string, string>>): Promise<ZygoteClient> {
  const handed = /^(\w+):(\d+):(.*)$/.exec(process.env[ZYGOTE_ENV] ?? '')
  if (handed?.[1] === key) {
    try {
      return await ZygoteClient.connect(handed[3]!, Number(handed[2]))
    } catch {
      // It is gone: the actors below us get another one.
    }
  }
  return await ZygoteClient.start(kind, env)
}

/** How the zygote is handed down to a child. */
export function handDown(kind: ZygoteKind, { pid, path }: ZygoteClient): string {
  return `${keyOf(kind)}:${pid}:${path}`
}

function keyOf(kind: ZygoteKind): string {
  return createHash('sha256')
    .update(JSON.stringify([kind.tree, kind.execArgv, kind.warm, kind.bare ?? false, kind.spareless ?? false]))
    .digest('hex')
    .slice(0, 16)
}

/** Ends all that this process has started. */
export async function endZygotes(): Promise<void> {
  const all = [...clients.values()]
  clients.clear()
  for (const child of starting) child.kill('SIGKILL')
  await Promise.all(all.map((one) => one.then((client) => client.end()).catch(() => {})))
}
