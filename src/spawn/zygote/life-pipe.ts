/** The pipe between a child and whoever ordered it: its birth, its exit code, and by its end the child's. */
import { closeSync, fstatSync } from 'node:fs'
import { Socket } from 'node:net'
import { LIFE, type OpenPath } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

/** A pipe whose writing end a child opens by the path of ours. */
export interface OwnPipe {
  out: OpenPath
  stream: Socket
  /** Our copy of the writing end: while it is open, the reading end does not end. */
  letGo(): void
}

/** @throws Error when there are no descriptors left */
export function makePipe(calls: ForkCalls): OwnPipe {
  const ends = calls.pipe()
  if (!ends) throw new Error(`no pipe can be made: ${calls.lastError()}`)
  const { ino } = fstatSync(ends.write)
  const stream = new Socket({ fd: ends.read, readable: true, writable: false })
  stream.on('error', () => {})
  let open = true
  return {
    out: { path: `/proc/${process.pid}/fd/${ends.write}`, inode: ino },
    stream,
    letGo() {
      if (open) closeSync(ends.write)
      open = false
    },
  }
}

export interface LifeEvents {
  up(): void
  wrong(error: Error): void
  /** Nobody writes any more. */
  end(code: number | undefined): void
}

export class LifePipe {
  readonly #pipe: OwnPipe

  constructor(calls: ForkCalls, events: LifeEvents) {
    this.#pipe = makePipe(calls)
    const { stream } = this.#pipe
    let text = ''
    let code: number | undefined
    stream.setEncoding('latin1')
    stream.on('data', (more: string) => {
      text += more
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        const rest = line.slice(1)
        // From here on the child holds the pipe alone.
        this.#pipe.letGo()
        if (line.startsWith(LIFE.up)) events.up()
        else if (line.startsWith(LIFE.wrong)) events.wrong(toError(rest))
        else if (line.startsWith(LIFE.exit)) code = Number(rest)
      }
    })
    stream.on('close', () => events.end(code))
    stream.unref()
  }

  get out(): OpenPath {
    return this.#pipe.out
  }

  /** The child has ended: calls back when all that it wrote is read. */
  settle(then: () => void): void {
    if (this.#pipe.stream.destroyed) then()
    else this.#pipe.stream.once('close', then)
    this.#pipe.letGo()
  }

  /** Nobody is to write any more: what the child does not hold ends now. */
  close(): void {
    this.#pipe.letGo()
    this.#pipe.stream.destroy()
  }
}

function toError(json: string): Error {
  const { message, code } = JSON.parse(Buffer.from(json, 'latin1').toString('utf8')) as {
    message: string
    code?: string
  }
  return Object.assign(new Error(message), code !== undefined && { code })
}
