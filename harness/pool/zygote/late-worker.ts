/**
 * A worker that is started when its file is known. vitest starts a worker first and then tells it what to run; where some files
 * are to run in child processes and others not, that is too late to choose.
 */
import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import type { InnerWorker } from '../../compat.ts'

interface Message {
  __vitest_worker_request__?: true
  __vitest_worker_response__?: true
  type?: string
  error?: unknown
  context?: { files?: { filepath: string }[] }
}

export class LateWorker extends EventEmitter implements InnerWorker {
  readonly name: string
  readonly cacheFs: boolean | undefined
  entrypoint: string
  readonly #inner: InnerWorker
  readonly #choose: (files: string[]) => void
  #start: Message | undefined
  /** What came before the worker was ready. */
  #held: unknown[] = []
  #phase: 'new' | 'starting' | 'started' | 'stopped' = 'new'

  /** @param choose told the files, before the worker is made */
  constructor(inner: InnerWorker, choose: (files: string[]) => void) {
    super()
    this.#inner = inner
    this.#choose = choose
    this.name = inner.name
    this.cacheFs = inner.cacheFs
    this.entrypoint = inner.entrypoint
  }

  get _fork(): ChildProcess | undefined {
    return this.#inner._fork
  }

  async start(): Promise<void> {}

  deserialize(data: unknown): unknown {
    return data
  }

  send(message: unknown): void {
    const { __vitest_worker_request__: isRequest, type, context } = (message ?? {}) as Message
    if (this.#phase === 'started') this.#inner.send(message as never)
    else if (isRequest && type === 'start') {
      this.#start = message as Message
      this.#say('started')
    } else if (isRequest && type === 'stop' && this.#phase === 'new') this.#say('stopped')
    else {
      this.#held.push(message)
      if (isRequest && (type === 'run' || type === 'collect') && this.#phase === 'new') {
        void this.#begin((context?.files ?? []).map((file) => file.filepath))
      }
    }
  }

  async stop(): Promise<void> {
    const before = this.#phase
    this.#phase = 'stopped'
    if (before !== 'new') await this.#inner.stop()
  }

  #say(type: string): void {
    setImmediate(() => this.emit('message', { __vitest_worker_response__: true, type }))
  }

  async #begin(files: string[]): Promise<void> {
    this.#phase = 'starting'
    try {
      this.#choose(files)
      await this.#inner.start()
      this.#inner.on('message', (message) => this.#heard(message as Message))
      this.#inner.on('error', (error) => this.emit('error', error))
      this.#inner.on('exit', (...how) => this.emit('exit', ...how))
      this.#inner.send(this.#start as never)
    } catch (error) {
      this.emit('error', error)
    }
  }

  #heard(message: Message): void {
    const isAnswer = message?.__vitest_worker_response__ && message.type === 'started' && this.#phase === 'starting'
    if (!isAnswer) this.emit('message', message)
    else if (message.error) this.emit('error', message.error)
    else {
      this.#phase = 'started'
      for (const held of this.#held.splice(0)) this.#inner.send(held as never)
    }
  }
}
