/** Listening and dialling, on Unix sockets and TCP. */

import { chmodSync, linkSync, lstatSync, renameSync, type Stats, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { RuntimeFailure, TransportClosed } from '../errors.ts'
import { clearTimer, setTimer } from '../process/clean.ts'
import { type Address, formatAddress, hash } from './address.ts'
import { Intake } from './intake.ts'
import type { Transport } from './transport.ts'
import { atMost } from './transports/closing.ts'
import { SocketTransport } from './transports/socket.ts'

export interface Listener {
  /** With the port that the system chose. */
  readonly address: Address
  /** No new connections; those that nobody has taken over end after `limitMs`. */
  close(limitMs: number): Promise<void>
  /**
   * For a process that is about to exit: nobody finds it any more, and whoever is waiting to be taken up ends with the process.
   *
   * @returns false when that cannot be had without {@link close}
   */
  leave(): boolean
}

/**
 * @param options.onTransport called for each connection
 * @param options.unique nobody else can have chosen this address: it is bound without further ado
 * @throws RuntimeFailure when somebody listens there (its cause is the system's error), or for what else the system says
 */
export async function listen(
  address: Address,
  options: { onTransport(transport: Transport): void; unique?: boolean },
): Promise<Listener> {
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    options.onTransport(transportOf(socket, address.kind))
  })
  if (address.kind === 'tcp') {
    await bind(server, { host: address.host, port: address.port }, address)
    const { port } = server.address() as { port: number }
    return listenerOf(server, { ...address, port })
  }
  if (options.unique) {
    await bind(server, { path: address.path }, address)
    // The file is what Node removes when it closes the socket.
    return listenerOf(server, address, { leave: () => unlink(address.path) })
  }
  const stat = await bindFile(server, address.path)
  const remove = (): void => removeSame(address.path, stat)
  return listenerOf(server, address, { closed: remove, leave: remove })
}

function listenerOf(
  server: Server,
  address: Address,
  then: { closed?: () => void; leave?: () => void } = {},
): Listener {
  // A listener alone keeps no actor alive: its tasks do.
  server.unref()
  return {
    address,
    async close(limitMs) {
      if (!server.listening) return
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      then.closed?.()
      await atMost(closed, limitMs)
    },
    leave() {
      then.leave?.()
      return then.leave !== undefined
    },
  }
}

function bind(
  server: Server,
  where: { host: string; port: number } | { path: string },
  address: Address,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE'
      reject(
        new RuntimeFailure(
          `cannot listen at ${formatAddress(address)}: ${taken ? 'somebody else does' : cause.message}`,
          { cause },
        ),
      )
    })
    server.once('listening', () => {
      server.removeAllListeners('error')
      server.on('error', () => {})
      resolve()
    })
    if (!('path' in where) || !listenDirectly(server, where.path)) server.listen(where)
  })
}

const BACKLOG = 511

/**
 * `listen()` loads `node:cluster` to find out that this is none of its workers: 3 ms of each start of an actor. The step behind
 * that is there under the same name in Node 22 to 26; where it is not, `listen()` does it.
 */
function listenDirectly(server: Server, path: string): boolean {
  const inside = server as Server & { _listen2?: (...step: unknown[]) => void; _pipeName?: string }
  if (typeof inside._listen2 !== 'function') return false
  inside._pipeName = path
  inside._listen2(path, -1, -1, BACKLOG, undefined, undefined)
  return true
}

/**
 * Binds under a name of its own and links that into place, which fails when somebody has the place: of five that race, one
 * gets it. A file whose binder is dead is taken away before, under a lock.
 */
async function bindFile(server: Server, path: string): Promise<Stats> {
  const own = join(dirname(path), `.${placeTag(path)}${suffix().slice(3)}.b`)
  await bind(server, { path: own }, { kind: 'uds', path: own })
  try {
    chmodSync(own, 0o600)
    const stat = lstatSync(own)
    for (let attempt = 0; ; attempt++) {
      try {
        linkSync(own, path)
        return stat
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code !== 'EEXIST' || attempt === 3 || !(await removeStale(path))) throw taken(path, error)
      }
    }
  } catch (error) {
    await new Promise((resolve) => server.close(resolve))
    throw error
  } finally {
    unlink(own)
  }
}

/** Names the place in what the system shows as the path of such a socket, which is the one that it was bound under. */
const placeTag = (path: string): string => hash(basename(path)).slice(0, 4)

/** Is this the path under which {@link listen} has bound a socket for that place? */
export function isBoundFor(place: string, bound: string): boolean {
  return dirname(bound) === dirname(place) && new RegExp(`^\\.${placeTag(place)}\\w{1,5}\\.b$`).test(basename(bound))
}

const suffix = (): string => Math.random().toString(36).slice(2, 10)

function taken(path: string, cause: unknown): RuntimeFailure {
  const code = (cause as NodeJS.ErrnoException).code
  if (code !== 'EEXIST')
    return new RuntimeFailure(`cannot listen at unix:${path}: ${(cause as Error).message}`, { cause })
  return new RuntimeFailure(`cannot listen at unix:${path}: somebody else does`, {
    cause: Object.assign(new Error(`EADDRINUSE: ${path}`), { code: 'EADDRINUSE' }),
  })
}

/** @returns true when the place is free now */
async function removeStale(path: string): Promise<boolean> {
  const before = lstatSync(path, { throwIfNoEntry: false })
  if (!before) return true
  if (!before.isSocket() || (process.getuid !== undefined && before.uid !== process.getuid())) return false
  if (!(await refuses(path))) return false
  // Renaming is atomic: of several that found it stale, one moves it away, and sees whether it was the same.
  const away = `${path}.${suffix()}.old`
  try {
    renameSync(path, away)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
  const moved = lstatSync(away, { throwIfNoEntry: false })
  if (moved && moved.ino !== before.ino) {
    // Somebody was faster and has bound it anew: it goes back.
    try {
      linkSync(away, path)
    } catch {
      // And somebody has taken the place meanwhile, which is theirs then.
    }
    unlink(away)
    return false
  }
  unlink(away)
  return true
}

/** The kernel says that nobody listens there. */
function refuses(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const timer = setTimer(() => done(false), 1000)
    const done = (answer: boolean): void => {
      clearTimer(timer)
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => done(false))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => done(code === 'ECONNREFUSED'))
  })
}

function removeSame(path: string, stat: Stats): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.ino === stat.ino) unlink(path)
}

function unlink(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Gone already.
  }
}

function transportOf(socket: Socket, kind: 'uds' | 'tcp'): Transport {
  const peer = kind === 'tcp' ? `${socket.remoteAddress}:${socket.remotePort}` : 'a Unix socket'
  return new SocketTransport(socket, kind, peer)
}

/**
 * Connects.
 *
 * @param options.limitMs for the connection to be there
 * @param options.signal breaks it off
 * @throws TransportClosed when nobody answers; its cause is the system's error
 */
export function dial(address: Address, options: { limitMs: number; signal?: AbortSignal }): Promise<Transport> {
  return new Promise((resolve, reject) => {
    const to = formatAddress(address)
    const intake = new Intake()
    const { onread } = intake
    const socket = connect(
      address.kind === 'uds' ? { path: address.path, onread } : { host: address.host, port: address.port, onread },
    )
    const fail = (cause: unknown): void => {
      done()
      socket.destroy()
      reject(
        new TransportClosed(`cannot connect to ${to}: ${cause instanceof Error ? cause.message : String(cause)}`, {
          by: 'unknown',
          cause,
        }),
      )
    }
    const onAbort = (): void => fail(options.signal?.reason)
    const timer = setTimer(() => fail(new Error(`no answer within ${options.limitMs} ms`)), options.limitMs)
    const done = (): void => {
      clearTimer(timer)
      options.signal?.removeEventListener('abort', onAbort)
      socket.removeListener('error', fail)
    }
    if (options.signal?.aborted) return onAbort()
    options.signal?.addEventListener('abort', onAbort, { once: true })
    socket.once('error', fail)
    socket.once('connect', () => {
      const transport = new SocketTransport(socket, address.kind, to, intake)
      done()
      resolve(transport)
    })
  })
}
