/** Suspends functions in every shape that the tests look for, dumps itself once and prints the facts as JSON. */
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import type { AsyncFacts } from '../../../src/inspect/facts.ts'
import { dumpSuspendedHere } from '../../../src/inspect/look-at-heap.ts'

const LONG = 600_000

class Lock {
  waiting: (() => void)[] = []
  locked = false
  async acquire(): Promise<void> {
    if (this.locked) await new Promise<void>((resolve) => this.waiting.push(resolve))
    this.locked = true
  }
}

interface Job {
  run(): Promise<unknown>
  done(value: unknown): void
}

/** Runs one job after the other; whoever adds one waits for its end. */
class Jobs {
  waiting: Job[] = []
  running = false
  add(run: () => Promise<unknown>): Promise<unknown> {
    return new Promise((done) => {
      this.waiting.push({ run, done })
      void this.work()
    })
  }
  async work(): Promise<void> {
    if (this.running) return
    this.running = true
    for (let job = this.waiting.shift(); job; job = this.waiting.shift()) job.done(await job.run())
    this.running = false
  }
}

/** A promise that has its own resolve function as a property. */
function deferred(): Promise<unknown> & { resolve(value: unknown): void } {
  let resolve: (value: unknown) => void = () => {}
  return Object.assign(new Promise((done) => (resolve = done)), { resolve })
}

async function fills(use: (value: unknown) => void): Promise<void> {
  use(await new Promise((resolve) => queue.push(resolve as () => void)))
}

class Widget extends EventEmitter {}

const keep: Record<string, unknown> = {}
const queue: (() => void)[] = []
const requests = new Map<string, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
const widget = new Widget()
const jobs = new Jobs()

async function listen(): Promise<{ server: Server; port: number }> {
  const server = createServer(() => {}).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return { server, port: typeof address === 'object' && address ? address.port : 0 }
}

const web = await listen()
const closing = await listen()
connect(closing.port, '127.0.0.1')
await once(closing.server, 'connection')
const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] })
// The end, whatever happens: nobody may find this program still running.
setTimeout(() => process.exit(3), 60_000).unref()
const worker = new Worker('require("node:worker_threads").parentPort.on("message", () => {})', { eval: true })
const online = once(worker, 'online')

async function pause(): Promise<void> {
  await sleep(LONG)
}

async function* letters(): AsyncGenerator<string> {
  yield 'a'
  await pause()
  yield 'b'
}

async function* relayed(): AsyncGenerator<string> {
  yield* letters()
}

async function readAll(source: AsyncGenerator<string>): Promise<void> {
  for await (const letter of source) keep.letter = letter
}

function withTimeout<T>(promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve_, reject_) => {
    const timer = setTimeout(() => reject_(new Error('late')), LONG)
    function resolve(value: T): void {
      clearTimeout(timer)
      resolve_(value)
    }
    promise.then(resolve, (error) => {
      clearTimeout(timer)
      reject_(error)
    })
  })
}

const shapes: Record<string, () => unknown> = {
  async lockTwice() {
    const name = 'stock "A"'
    const order = { id: 7, lines: ['x', 'y'] }
    const lock = new Lock()
    keep.lock = lock
    await lock.acquire()
    {
      const inner = 1
      await lock.acquire()
      return [name, order, inner]
    }
  },
  async timer() {
    await pause()
  },
  async bareTimer() {
    await new Promise((resolve) => setTimeout(resolve, LONG))
  },
  async event() {
    await once(widget, 'ready')
  },
  async listener() {
    await new Promise<void>((resolve) => widget.on('done', () => resolve()))
  },
  async members() {
    await Promise.all([pause(), Promise.resolve(1), pause()])
  },
  async race() {
    await Promise.race([pause(), new Promise(() => {})])
  },
  async any() {
    await Promise.any([pause()])
  },
  async settled() {
    await Promise.allSettled([pause()])
  },
  async chain() {
    await pause()
      .then((value) => value)
      .catch(() => {})
      .finally(() => {})
  },
  async resolvedWith() {
    await new Promise((resolve) => resolve(pause()))
  },
  async wrapped() {
    await withTimeout(withTimeout(pause()))
  },
  async deferred() {
    const gate = Promise.withResolvers<void>()
    pause().then(() => gate.resolve())
    await gate.promise
  },
  async iterator() {
    await readAll(letters())
  },
  async delegated() {
    await readAll(relayed())
  },
  async request() {
    await fetch(`http://127.0.0.1:${web.port}/`)
  },
  async message() {
    await new Promise((resolve) => worker.once('message', resolve))
  },
  async childExit() {
    await once(child, 'exit')
  },
  async serverClose() {
    await new Promise((resolve) => closing.server.close(resolve))
  },
  async abort() {
    const controller = new AbortController()
    keep.controller = controller
    await new Promise((resolve) => controller.signal.addEventListener('abort', resolve))
  },
  async queued() {
    await new Promise<void>((resolve) => queue.push(resolve))
  },
  async mapped() {
    await new Promise((resolve, reject) => requests.set('req-7', { resolve, reject }))
  },
  async imported() {
    const url = 'data:text/javascript,await new Promise((resolve) => { globalThis.finishImport = resolve })'
    await import(url)
  },
  async ownLock() {
    const lock = new Lock()
    await lock.acquire()
    await lock.acquire()
  },
  async lost() {
    await new Promise(() => {})
  },
  async jobInJob() {
    await jobs.add(async () => {
      await jobs.add(async () => 1)
    })
  },
  fixture: () => {
    const value = deferred()
    void fills((given) => value.resolve(given))
    return value
  },
  bare: () => new Promise((resolve) => widget.on('bare', resolve)),
}

async function harrowOwner(_label: string, body: () => unknown): Promise<unknown> {
  return await body()
}

const requested = once(web.server, 'connection')
for (const [name, shape] of Object.entries(shapes)) harrowOwner(`harrow:${name}`, shape)
const first = harrowOwner('harrow:left', () => pause())
const second = harrowOwner('harrow:right', () => pause())
keep.both = [first, second]
await requested
await online

function look(): AsyncFacts {
  return dumpSuspendedHere({
    ownerRule: { fn: 'harrowOwner', script: (url) => url.includes('/suspends.ts') },
    preferOwner: 'harrow:lockTwice',
    maxResolve: Number(process.env.MAX_RESOLVE ?? 4),
    budgetMs: 20_000,
    redact: (name, value) => (name === 'name' ? value.replace('stock', '…') : value),
  })
}

function tell(facts: AsyncFacts): void {
  if (isMainThread) process.stdout.write(JSON.stringify(facts), () => process.exit())
  else parentPort?.postMessage(facts)
}

// From a timer, as the harness does it: nothing may be awaited any more.
const ended = once(child, 'exit')
setTimeout(() => {
  const facts = look()
  child.kill('SIGKILL')
  void ended.then(() => tell(facts))
}, 1)
await ended
