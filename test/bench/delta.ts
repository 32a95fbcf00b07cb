/** What the per-test snapshot costs, and what a handle costs that is recorded, beside the same without it. */
import net, { type AddressInfo, type Server } from 'node:net'
import { parseArgs } from 'node:util'
import { isProgram } from '../../scripts/dev/checkout.ts'
import { installHandles } from '../../src/inspect/resources/handles.ts'
import { openSnapshots } from '../../src/inspect/resources/snapshot.ts'

const USAGE = `node test/bench/delta.ts [--rounds 5] [--json]
  Cost of a resource snapshot (µs, p50 and p99 over 5000), and of setTimeout, nextTick, await and a TCP connection while
  handles are recorded, beside the same while they are not (µs of CPU, medians of the rounds).`

const SNAPSHOTS = 5000

/** Microseconds. */
export interface DeltaCost {
  node: string
  snapshot: { p50: number; p99: number }
  /** A snapshot with a registry of 100 open handles. */
  withHandles: { p50: number; p99: number }
  operations: { name: string; plain: number; recorded: number; ratio: number }[]
}

const operations: { name: string; count: number; run(count: number): Promise<void> }[] = [
  {
    name: 'setTimeout + clearTimeout',
    count: 20_000,
    async run(count) {
      for (let at = 0; at < count; at++) clearTimeout(setTimeout(() => {}, 1000))
    },
  },
  {
    name: 'setTimeout that fires',
    count: 10_000,
    run: (count) =>
      new Promise((resolve) => {
        let fired = 0
        for (let at = 0; at < count; at++) setTimeout(() => ++fired === count && resolve(), 1)
      }),
  },
  {
    name: 'process.nextTick',
    count: 100_000,
    run: (count) =>
      new Promise((resolve) => {
        let left = count
        const step = (): void => (--left > 0 ? process.nextTick(step) : resolve())
        step()
      }),
  },
  {
    name: 'await',
    count: 200_000,
    async run(count) {
      for (let at = 0; at < count; at++) await undefined
    },
  },
  { name: 'TCP connection', count: 300, run: connections },
]

if (isProgram(import.meta.url)) await main()

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(USAGE)
  const cost = await measureDeltas(Number(values.rounds))
  if (values.json) return console.log(JSON.stringify(cost, null, 2))
  console.log(`Node ${cost.node}`)
  console.log(
    `snapshot                     p50 ${cost.snapshot.p50.toFixed(1)} µs, p99 ${cost.snapshot.p99.toFixed(1)} µs`,
  )
  console.log(
    `snapshot, 100 handles open   p50 ${cost.withHandles.p50.toFixed(1)} µs, p99 ${cost.withHandles.p99.toFixed(1)} µs`,
  )
  for (const { name, plain, recorded, ratio } of cost.operations) {
    console.log(`${name.padEnd(28)} ${plain.toFixed(2)} µs -> ${recorded.toFixed(2)} µs (${ratio.toFixed(2)} times)`)
  }
}

/** Measures in this process; nothing is left of it. */
export async function measureDeltas(rounds: number): Promise<DeltaCost> {
  const snapshot = snapshotTimes()
  const plain = new Map<string, number[]>()
  const recorded = new Map<string, number[]>()
  let withHandles = snapshot
  for (let round = 0; round < rounds; round++) {
    for (const operation of operations) push(plain, operation.name, await timeOf(operation))
    const registry = installHandles({ scope: () => undefined, isUser: () => true })
    try {
      for (const operation of operations) push(recorded, operation.name, await timeOf(operation))
      const timers = Array.from({ length: 100 }, () => setTimeout(() => {}, 60_000))
      withHandles = snapshotTimes(registry)
      for (const timer of timers) clearTimeout(timer)
    } finally {
      registry.close()
    }
  }
  return {
    node: process.version,
    snapshot,
    withHandles,
    operations: operations.map(({ name }) => {
      const [from, to] = [median(plain.get(name)!), median(recorded.get(name)!)]
      return { name, plain: from, recorded: to, ratio: to / from }
    }),
  }
}

function snapshotTimes(registry?: { readonly size: number }): { p50: number; p99: number } {
  const snapshots = openSnapshots(registry)
  try {
    for (let at = 0; at < 500; at++) snapshots.take()
    const times = Array.from({ length: SNAPSHOTS }, () => {
      const start = performance.now()
      snapshots.take()
      return 1000 * (performance.now() - start)
    }).sort((a, b) => a - b)
    return { p50: times[SNAPSHOTS / 2]!, p99: times[SNAPSHOTS * 0.99]! }
  } finally {
    snapshots.close()
  }
}

async function timeOf({ count, run }: (typeof operations)[number]): Promise<number> {
  // Time on the CPU, garbage collection included: the wall clock would measure the neighbours as well.
  const start = process.cpuUsage()
  await run(count)
  const { user, system } = process.cpuUsage(start)
  return (user + system) / count
}

async function connections(count: number): Promise<void> {
  const server: Server = net.createServer((socket) => socket.end())
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  for (let at = 0; at < count; at++) {
    await new Promise<void>((resolve, reject) => {
      net
        .connect(port, '127.0.0.1')
        .resume()
        .on('close', () => resolve())
        .on('error', reject)
    })
  }
  await new Promise((resolve) => server.close(resolve))
}

function push(to: Map<string, number[]>, name: string, value: number): void {
  to.set(name, [...(to.get(name) ?? []), value])
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}
