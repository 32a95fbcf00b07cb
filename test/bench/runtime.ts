// npm run bench:runtime: the runtime beside its peers and its limits, all in one run, each once a round in an order that
// turns. --only tasks,calls,stream,start,stop --rounds N --pinned (calls: all of it on one core; run it below `taskset -c 1`)
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { build } from '../../scripts/dev/build.ts'
import { root } from '../../scripts/dev/checkout.ts'
import { median, range, table } from './table.ts'

type Harrow = typeof import('../../src/index.ts')
type TasksPortal = InstanceType<typeof import('../../src/index.ts').Portal<Tasks>>
type Tasks = { echo<T>(value: T): Promise<T> }

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'tasks,calls,stream,start,stop' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const wanted = new Set(values.only.split(','))
if (!build()) process.exit(1)
const harrow = (await import(join(root, 'dist/src/index.js'))) as Harrow
const file = (name: string): string => fileURLToPath(new URL(`./runtime/${name}`, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'hrwb-'))
const tasks = file('tasks.mjs')
const payload = {
  user: 'user-000123',
  op: 'update',
  flags: [1, 0, 1],
  at: 1_732_147_200_123,
  ok: true,
  note: 'a short note here',
}

/** @param warm a round that does not count: what V8 compiles for the loops of a caller and an actor takes tens of thousands of calls */
type Way = (warm: boolean) => Promise<number>

/** Runs each way once a round, after a round that does not count; gives the figures of each. */
async function interleave(ways: Record<string, Way>, times = rounds): Promise<Record<string, number[]>> {
  const names = Object.keys(ways)
  const found: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]))
  for (let round = -1; round < times; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + Math.max(0, round)) % names.length]!
      const figure = await ways[name]!(round < 0)
      if (round >= 0) found[name]!.push(figure)
    }
  }
  return found
}

function print(title: string, unit: string, found: Record<string, number[]>, base: string, digits = 1): void {
  const limit = median(found[base]!)
  console.log(`\n### ${title}`)
  table(
    ['way', `median ${unit}`, 'range', `x ${base}`],
    Object.entries(found).map(([name, all]) => [
      name,
      median(all).toFixed(digits),
      range(all, digits),
      (median(all) / limit).toFixed(2),
    ]),
  )
}

// ---- tasks of a nursery

if (wanted.has('tasks')) {
  const { Effect, Fiber } = await import('effect')
  const effection = await import('effection')
  const leaf = async (): Promise<number> => {
    await null
    return 1
  }
  for (const children of [10, 100, 1000, 5000]) {
    const total = Math.max(children, 5000)
    const each =
      (run: () => Promise<unknown>): Way =>
      async () => {
        const began = process.hrtime.bigint()
        for (let done = 0; done < total; done += children) await run()
        return Number(process.hrtime.bigint() - began) / total
      }
    const effectLeaf = Effect.promise(leaf)
    const found = await interleave({
      'plain promises': each(() => Promise.all(Array.from({ length: children }, leaf))),
      harrow: each(() =>
        harrow.openTaskNursery(async (nursery) => {
          for (let i = 0; i < children; i++) nursery.spawn(leaf)
        }),
      ),
      effect: each(() =>
        Effect.runPromise(
          Effect.gen(function* () {
            const fibers = []
            for (let i = 0; i < children; i++) fibers.push(yield* Effect.forkChild(effectLeaf))
            for (const fiber of fibers) yield* Fiber.join(fiber)
          }),
        ),
      ),
      effection: each(() =>
        effection.run(function* () {
          const all = []
          for (let i = 0; i < children; i++) all.push(yield* effection.spawn(() => effection.until(leaf())))
          for (const one of all) yield* one
        }),
      ),
    })
    print(`a task, spawned, awaiting once, joined; ${children} at a time`, 'ns', found, 'plain promises', 0)
  }
}

// ---- calls and streams

/** As actors are: Linux shares a busy machine out by session. */
const OWN_SESSION: ForkOptions = { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], detached: true }

/** An echo over a socket with 4 bytes of length; answers come in order. */
async function rawSocket(batch: boolean): Promise<{ call: () => Promise<unknown>; end: () => void }> {
  const path = join(folder, `raw-${batch}.sock`)
  const child = fork(file('echo-child.mjs'), [path, batch ? '1' : ''], OWN_SESSION)
  await new Promise((resolve) => child.once('message', resolve))
  const socket: Socket = connect(path)
  await new Promise((resolve) => socket.once('connect', resolve))
  const body = Buffer.alloc(104, 7)
  body.writeUInt32LE(100, 0)
  const waiting: (() => void)[] = []
  let have = 0
  socket.on('data', (chunk: Buffer) => {
    have += chunk.length
    for (; have >= 104; have -= 104) waiting.shift()?.()
  })
  let queue: Buffer[] = []
  const flush = (): void => {
    socket.write(queue.length === 1 ? queue[0]! : Buffer.concat(queue))
    queue = []
  }
  return {
    call: () =>
      new Promise<void>((resolve) => {
        waiting.push(resolve)
        if (!batch) socket.write(body)
        else if (queue.push(body) === 1) queueMicrotask(flush)
      }),
    end: () => {
      socket.destroy()
      child.kill('SIGKILL')
    },
  }
}

async function workerPeers(): Promise<Record<string, { call: () => Promise<unknown>; end: () => void }>> {
  const start = (kind: string): Worker => new Worker(file('echo-worker.mjs'), { workerData: kind })
  const plain = start('plain')
  const open = new Map<number, (value: unknown) => void>()
  let id = 0
  plain.on('message', ({ id: of, result }: { id: number; result: unknown }) => {
    open.get(of)?.(result)
    open.delete(of)
  })
  const { createBirpc } = await import('birpc')
  const birpcWorker = start('birpc')
  const birpc = createBirpc<Tasks>(
    {},
    { post: (data) => birpcWorker.postMessage(data), on: (fn) => birpcWorker.on('message', fn) },
  )
  const { wrap } = await import('comlink')
  const { default: nodeEndpoint } = (await import('comlink/dist/esm/node-adapter.mjs' as string)) as {
    default: (worker: Worker) => never
  }
  const comlinkWorker = start('comlink')
  const comlink = wrap<Tasks>(nodeEndpoint(comlinkWorker))
  const { Piscina } = await import('piscina')
  const piscina = new Piscina({
    filename: tasks,
    name: 'echo',
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 64,
  })
  const { default: workerpool } = (await import('workerpool' as string)) as { default: WorkerPool }
  const threads = workerpool.pool(file('workerpool-worker.mjs'), { workerType: 'thread', maxWorkers: 1 })
  const { Tinypool } = await import('tinypool')
  const tinypool = new Tinypool({ filename: tasks, name: 'echo', minThreads: 1, maxThreads: 1 })
  return {
    postMessage: {
      call: () =>
        new Promise((resolve) => {
          open.set(++id, resolve)
          plain.postMessage({ id, args: payload })
        }),
      end: () => void plain.terminate(),
    },
    birpc: { call: () => birpc.echo(payload), end: () => void birpcWorker.terminate() },
    comlink: { call: () => comlink.echo(payload) as Promise<unknown>, end: () => void comlinkWorker.terminate() },
    'piscina, 64 tasks a worker': { call: () => piscina.run(payload), end: () => void piscina.destroy() },
    tinypool: { call: () => tinypool.run(payload), end: () => void tinypool.destroy() },
    workerpool: {
      call: async () => await threads.exec('echo', [payload]),
      end: () => void threads.terminate(true),
    },
  }
}

async function processPeers(): Promise<Record<string, { call: () => Promise<unknown>; end: () => void }>> {
  const { default: workerpool } = (await import('workerpool' as string)) as { default: WorkerPool }
  const pool = workerpool.pool(file('workerpool-worker.mjs'), { workerType: 'process', maxWorkers: 1 })
  const child = fork(file('node-ipc-child.mjs'), [folder, 'peer'], OWN_SESSION)
  await new Promise((resolve) => child.once('message', resolve))
  // It has no types.
  const { default: ipc } = (await import('node-ipc' as string)) as { default: NodeIpc }
  Object.assign(ipc.config, { id: 'bench', socketRoot: `${folder}/`, silent: true })
  await new Promise<void>((resolve) => {
    ipc.connectTo('peer', () => ipc.of.peer!.on('connect', () => resolve()))
  })
  const open = new Map<number, (value: unknown) => void>()
  let id = 0
  ipc.of.peer!.on('res', (answer) => {
    const { id: of, result } = answer as { id: number; result: unknown }
    open.get(of)?.(result)
    open.delete(of)
  })
  return {
    workerpool: { call: async () => await pool.exec('echo', [payload]), end: () => void pool.terminate(true) },
    'node-ipc': {
      call: () =>
        new Promise((resolve) => {
          open.set(++id, resolve)
          ipc.of.peer!.emit('req', { id, args: payload })
        }),
      end: () => {
        ipc.disconnect('peer')
        child.kill('SIGKILL')
      },
    },
  }
}

/** What of it is used here. */
interface WorkerPool {
  pool(
    file: string,
    options: object,
  ): { exec(name: string, args: unknown[]): PromiseLike<unknown>; terminate(force: boolean): PromiseLike<unknown> }
}

interface NodeIpc {
  config: object
  connectTo(name: string, done: () => void): void
  disconnect(name: string): void
  of: Record<
    string,
    { on(event: string, listener: (data: unknown) => void): void; emit(event: string, data: unknown): void }
  >
}

/** Calls of the first round for each that counts. */
const WARM_UP = 10

const latency =
  (call: () => Promise<unknown>): Way =>
  async (warm) => {
    const n = warm ? 2000 * WARM_UP : 2000
    const times = new Float64Array(n)
    for (let i = 0; i < n; i++) {
      const began = process.hrtime.bigint()
      await call()
      times[i] = Number(process.hrtime.bigint() - began) / 1000
    }
    return times.sort()[n >> 1]!
  }

const rate =
  (call: () => Promise<unknown>): Way =>
  async (warm) => {
    const n = warm ? 10_000 * WARM_UP : 10_000
    let left = n
    const lane = async (): Promise<void> => {
      while (left-- > 0) await call()
    }
    const began = performance.now()
    await Promise.all(Array.from({ length: 64 }, lane))
    return n / (performance.now() - began)
  }

async function withActors(
  backends: readonly ('spawn' | 'fork' | 'thread')[],
  body: (portals: Record<string, TasksPortal>) => Promise<void>,
): Promise<void> {
  await harrow.openRoot({ registryAddrs: [`unix:${folder}/r.sock`], logLevel: 'silent' }, async () => {
    await harrow.openNursery(async (an) => {
      const portals: Record<string, never> = {}
      for (const spawnMethod of backends)
        portals[spawnMethod] = (await an.startActor(spawnMethod, { module: tasks, spawnMethod })) as never
      await body(portals)
      await an.cancel()
    })
  })
}

if (wanted.has('calls')) {
  await withActors(['spawn', 'fork', 'thread'], async (portals) => {
    const raw = await rawSocket(false)
    const batched = await rawSocket(true)
    const peers = await workerPeers()
    const others = await processPeers()
    const call = (name: string) => (): Promise<unknown> => portals[name]!.call('echo', payload)
    const processes = {
      'raw socket': raw.call,
      'raw socket, batched': batched.call,
      ...Object.fromEntries(Object.entries(others).map(([name, peer]) => [name, peer.call])),
      'harrow spawn': call('spawn'),
      'harrow fork': call('fork'),
    }
    const threads = {
      ...Object.fromEntries(Object.entries(peers).map(([name, peer]) => [name, peer.call])),
      'harrow thread': call('thread'),
    }
    const all = <T>(
      ways: Record<string, () => Promise<unknown>>,
      make: (call: () => Promise<unknown>) => T,
    ): Record<string, T> => Object.fromEntries(Object.entries(ways).map(([name, way]) => [name, make(way)]))
    print(
      'a call of 100 bytes, one in flight, processes',
      'us',
      await interleave(all(processes, (way) => latency(way))),
      'raw socket',
    )
    print(
      'a call of 100 bytes, one in flight, threads',
      'us',
      await interleave(all(threads, (way) => latency(way))),
      'postMessage',
    )
    print(
      'calls, 64 in flight, processes',
      'k/s',
      await interleave(all(processes, (way) => rate(way))),
      'raw socket, batched',
    )
    print('calls, 64 in flight, threads', 'k/s', await interleave(all(threads, (way) => rate(way))), 'postMessage')
    raw.end()
    batched.end()
    for (const peer of [...Object.values(peers), ...Object.values(others)]) peer.end()
  })
}

if (wanted.has('stream')) {
  const { default: net } = await import('node:net')
  const COUNT = 4000
  const chunk = Buffer.alloc(65_536, 1)
  /** Both ends in processes of their own, as an actor's are: a child reads all of it and says when. */
  const rawStream: Way = async () => {
    const path = join(folder, `s-${Math.random()}.sock`)
    const child = fork(file('sink-child.mjs'), [path, String(COUNT * (chunk.length + 4))], OWN_SESSION)
    await new Promise((resolve) => child.once('message', resolve))
    const socket = net.connect(path)
    await new Promise((resolve) => socket.once('connect', resolve))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(chunk.length)
    const began = performance.now()
    const done = new Promise((resolve) => child.once('message', resolve))
    for (let i = 0; i < COUNT; i++) {
      socket.cork()
      socket.write(length)
      const free = socket.write(chunk)
      socket.uncork()
      if (!free) await new Promise((resolve) => socket.once('drain', resolve))
    }
    await done
    const ms = performance.now() - began
    socket.destroy()
    child.kill('SIGKILL')
    return (COUNT * chunk.length) / 1e6 / (ms / 1000)
  }
  await harrow.openRoot({ registryAddrs: [`unix:${folder}/st.sock`], logLevel: 'silent' }, async () => {
    await harrow.openNursery(async (an) => {
      const module = file('sink.mjs')
      const ways: Record<string, Way> = { 'raw socket': rawStream }
      for (const spawnMethod of ['spawn', 'fork', 'thread'] as const) {
        const portal = (await an.startActor(spawnMethod, { module, spawnMethod })) as never as TasksPortal
        ways[`harrow ${spawnMethod}`] = async () => {
          const began = performance.now()
          await (
            portal as never as { openContext(n: string, a: unknown[], b: (ctx: never) => Promise<void>): Promise<void> }
          ).openContext('sink', [], async (ctx) => {
            const { openStream, waitForResult } = ctx as {
              openStream(b: (s: { send(v: unknown): Promise<void> }) => Promise<void>): Promise<void>
              waitForResult(): Promise<unknown>
            }
            await openStream.call(ctx, async (stream) => {
              for (let i = 0; i < COUNT; i++) await stream.send(chunk)
            })
            await waitForResult.call(ctx)
          })
          return (COUNT * chunk.length) / 1e6 / ((performance.now() - began) / 1000)
        }
      }
      print('a stream of 64 KB buffers', 'MB/s', await interleave(ways), 'raw socket', 0)
      await an.cancel()
    })
  })
}

// ---- start and stop

const bareProcess: Way = async () => {
  const began = performance.now()
  const child = fork(file('start-child.mjs'), [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  child.send(1)
  await new Promise((resolve) => child.once('message', resolve))
  const ms = performance.now() - began
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
  return ms
}

const bareThread: Way = async () => {
  const began = performance.now()
  const worker = new Worker(file('start-child.mjs'))
  worker.postMessage(1)
  await new Promise((resolve) => worker.once('message', resolve))
  const ms = performance.now() - began
  await worker.terminate()
  return ms
}

if (wanted.has('start')) {
  await harrow.openRoot({ registryAddrs: [`unix:${folder}/b.sock`], logLevel: 'silent' }, async () => {
    const start =
      (spawnMethod: 'spawn' | 'fork' | 'thread'): Way =>
      () =>
        harrow.openNursery(async (an) => {
          const began = performance.now()
          const portal = (await an.startActor('s', { module: tasks, spawnMethod })) as never as TasksPortal
          await portal.call('echo', 1)
          const ms = performance.now() - began
          await an.cancel()
          return ms
        })
    print(
      'start to first reply, processes',
      'ms',
      await interleave(
        { 'child_process.fork': bareProcess, 'harrow spawn': start('spawn'), 'harrow fork': start('fork') },
        3 * rounds,
      ),
      'child_process.fork',
    )
    print(
      'start to first reply, threads',
      'ms',
      await interleave({ Worker: bareThread, 'harrow thread': start('thread') }, 3 * rounds),
      'Worker',
    )
  })
}

if (wanted.has('stop')) {
  const COUNT = 100
  const kills: Way = async () => {
    const children: ChildProcess[] = []
    for (let i = 0; i < COUNT; i++) {
      const child = fork(file('start-child.mjs'), [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
      child.send(1)
      await new Promise((resolve) => child.once('message', resolve))
      children.push(child)
    }
    const began = performance.now()
    const exits = children.map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of children) child.kill('SIGKILL')
    await Promise.all(exits)
    return performance.now() - began
  }
  await harrow.openRoot({ registryAddrs: [`unix:${folder}/t.sock`], logLevel: 'silent' }, async () => {
    const cancel =
      (spawnMethod: 'spawn' | 'fork'): Way =>
      () =>
        harrow.openNursery(async (an) => {
          for (let i = 0; i < COUNT; i++)
            await an
              .startActor('s', { module: tasks, spawnMethod })
              .then((portal) => (portal as never as { call(n: string, v: number): Promise<void> }).call('echo', 1))
          const began = performance.now()
          await an.cancel()
          return performance.now() - began
        })
    print(
      `${COUNT} processes ended and reaped`,
      'ms',
      await interleave(
        { 'bare SIGKILL': kills, 'harrow spawn, cancelled': cancel('spawn'), 'harrow fork, cancelled': cancel('fork') },
        Math.max(1, Math.ceil(rounds / 2)),
      ),
      'bare SIGKILL',
      0,
    )
  })
}

rmSync(folder, { recursive: true, force: true })
process.exit(0)
