/** A worker that was forked from a zygote, as vitest's pool for child processes sees its own ones. */
import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { identify, type ProcessIdentity, signalProcess } from '../../../src/process/identity.ts'
import { Frames, frame } from './frames.ts'
import { OVER } from './task.ts'

const LAST_WORDS_MS = 1000

export class ForkedChild extends EventEmitter {
  readonly pid: number
  readonly stdin = null
  readonly stdout: Socket
  readonly stderr: Socket
  exitCode: number | null = null
  signalCode: NodeJS.Signals | null = null
  killed = false
  /** Nothing is to be done when it is stopped: it may be ended at once. */
  over = false

  readonly #identity: ProcessIdentity | undefined
  readonly #channel: Socket
  readonly #wake: () => boolean

  /**
   * @param channel its connection, paused
   * @param wake has the child open its inspector, as SIGUSR1 does with a process that was started anew
   */
  constructor(pid: number, channel: Socket, stdout: Socket, stderr: Socket, wake: () => boolean) {
    super()
    this.pid = pid
    this.stdout = stdout
    this.stderr = stderr
    this.#identity = identify(pid)
    this.#channel = channel
    this.#wake = wake
    const frames = new Frames()
    channel.on('data', (piece: Buffer) => {
      for (const message of frames.take(piece)) this.#heard(message)
    })
    channel.on('close', () => this.emit('disconnect'))
    // What comes before somebody listens waits in the kernel.
    this.on('newListener', (event) => {
      if (event === 'message') channel.resume()
    })
  }

  #heard(message: unknown): void {
    const { [OVER]: over } = (message ?? {}) as { [OVER]?: boolean }
    if (over !== undefined) this.over = over
    if (!isNodes(message)) this.emit('message', message)
  }

  get connected(): boolean {
    return this.#channel.writable
  }

  send(message: unknown): boolean {
    if (!this.#channel.writable) {
      this.emit('error', Object.assign(new Error('Channel closed'), { code: 'ERR_IPC_CHANNEL_CLOSED' }))
      return false
    }
    return this.#channel.write(frame(message))
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    if (this.exitCode !== null || this.signalCode !== null || !this.#identity) return false
    this.killed = signalProcess(this.#identity, signal)
    return this.killed
  }

  /** @returns false when it has no thread that listens */
  openInspector(): boolean {
    return this.#wake()
  }

  /** The zygote has collected it. */
  ended(code: number | null, signal: NodeJS.Signals | null): void {
    this.exitCode = code
    this.signalCode = signal
    if (this.#channel.destroyed) return void this.emit('exit', code, signal)
    // What it said last may still be on its way; somebody who has inherited the channel keeps it open.
    const tell = (): void => {
      clearTimeout(timer)
      this.#channel.off('close', tell)
      this.emit('exit', code, signal)
    }
    const timer = setTimeout(tell, LAST_WORDS_MS)
    this.#channel.once('close', tell).resume()
  }

  /** With the type of what takes its place. */
  asChildProcess(): ChildProcess {
    return this as unknown as ChildProcess
  }
}

function isNodes(message: unknown): boolean {
  const { cmd } = (message ?? {}) as { cmd?: unknown }
  return typeof cmd === 'string' && cmd.startsWith('NODE_')
}
