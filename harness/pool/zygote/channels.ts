/** Where forked workers connect to: one socket for all of a run, in the runtime folder, for its user only. */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { placeSocket } from '../../../src/spawn/zygote/socket.ts'
import { GREETING_BYTES, TOKEN_BYTES } from './task.ts'

/** A child that is to come. */
export interface Expected {
  /** The word by which it is known. */
  token: string
  /** Its connection, paused. */
  connection: Promise<Connection>
  forget(): void
}

interface Connection {
  socket: Socket
  pid: number
}

type Waiting = Map<string, (connection: Connection) => void>

export class Channels {
  readonly path: string
  readonly #server: Server
  readonly #waiting: Waiting

  private constructor(server: Server, path: string, waiting: Waiting) {
    this.#server = server
    this.path = path
    this.#waiting = waiting
  }

  static async open(): Promise<Channels> {
    const waiting: Waiting = new Map()
    const server = createServer({ pauseOnConnect: true }, (socket) => void greet(socket, waiting))
    const path = await placeSocket(server)
    server.unref()
    return new Channels(server, path, waiting)
  }

  expect(): Expected {
    const token = randomUUID()
    const connection = new Promise<Connection>((resolve) => this.#waiting.set(token, resolve))
    return { token, connection, forget: () => void this.#waiting.delete(token) }
  }

  close(): void {
    this.#server.close()
    rmSync(this.path, { force: true })
  }
}

/** Reads the greeting, and no byte more. */
function greet(socket: Socket, waiting: Waiting): void {
  socket.on('error', () => {})
  const look = (): void => {
    const greeting = (socket.read(GREETING_BYTES) as Buffer | null)?.toString('latin1')
    if (greeting === undefined) return
    socket.off('readable', look)
    const token = greeting.slice(0, TOKEN_BYTES)
    const found = waiting.get(token)
    waiting.delete(token)
    if (found) found({ socket, pid: Number(greeting.slice(TOKEN_BYTES)) })
    else socket.destroy()
  }
  socket.on('readable', look)
}
