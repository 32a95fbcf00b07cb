/** A program with many suspended functions; it writes its own heap snapshot to stdout and ends. */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import v8 from 'node:v8'

class Lock {
  readonly waiting: (() => void)[] = []
  async acquire(): Promise<void> {
    await new Promise<void>((resolve) => this.waiting.push(resolve))
  }
}
class Registry {
  readonly pending = new Map<string, (value: unknown) => void>()
  async ask(id: string): Promise<unknown> {
    return await new Promise((resolve) => this.pending.set(id, resolve))
  }
}
const lock = new Lock()
const registry = new Registry()
const bus = new EventEmitter()
const stream = new PassThrough()
const server = createServer(() => {}).listen(0, '127.0.0.1')
const controller = new AbortController()

async function marker(label: string, body: () => Promise<unknown>): Promise<void> {
  await body()
  console.error(label)
}
async function* numbers(): AsyncGenerator<number> {
  yield 1
  await lock.acquire()
}
async function consume(): Promise<void> {
  for await (const n of numbers()) await Promise.resolve(n)
}
async function guarded(): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    controller.signal.addEventListener('abort', () => reject(new Error('no')))
    bus.once('ready', (value) => resolve(value))
  })
}
const kept = [
  marker('harrow:test:1', async () => await Promise.all([lock.acquire(), registry.ask('42'), once(bus, 'x')])),
  marker('harrow:test:2', async () => await Promise.race([sleep(100_000), once(stream, 'end')])),
  marker('harrow:hook:3', guarded),
  consume(),
  fetch('http://127.0.0.1:1/').catch(() => lock.acquire()),
  registry.ask('7').then(() => lock.acquire()),
  ...Array.from({ length: 20 }, (_, i) => registry.ask(`n${i}`)),
]
setTimeout(() => {
  const snapshot = v8.getHeapSnapshot()
  snapshot.pipe(process.stdout, { end: false })
  snapshot.once('end', () => {
    server.closeAllConnections()
    // An exit before the last piece has gone through the pipe would cut it off.
    process.stdout.write('', () => process.exit(kept.length > 0 ? 0 : 1))
  })
}, 100)
