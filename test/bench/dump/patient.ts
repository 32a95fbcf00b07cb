/** Fills a heap, suspends two functions at a lock, looks at itself in one way, and tells what that cost: way, MB, objects. */
import { readFileSync } from 'node:fs'
import v8 from 'node:v8'
import { asyncStacks } from '../../../src/inspect/async-stacks.ts'
import { driveSync, withSession } from '../../../src/inspect/drive.ts'
import { dumpSuspendedHere, smallObjectBytes } from '../../../src/inspect/look-at-heap.ts'
import { factsFromStacks } from '../../../src/inspect/stack-facts.ts'

const [way = 'look', mb = '50', nodes = '500000', folder = '.'] = process.argv.slice(2)
/** Objects of one entry: itself, its text, its list and the elements of that; as V8 counts them. */
const NODES_EACH = 4
/** Bytes of one entry beside its text. */
const BYTES_EACH = 150

class Lock {
  queue: (() => void)[] = []
  async acquire(): Promise<void> {
    await new Promise<void>((resolve) => this.queue.push(resolve)) // @acquire
  }
}
const lock = new Lock()
async function reserve(): Promise<void> {
  await lock.acquire() // @reserve
}
const pending = reserve()

const entries = Math.round(Number(nodes) / NODES_EACH)
const text = Math.max(1, Math.round((Number(mb) * 1024 * 1024) / entries - BYTES_EACH))
const cache: unknown[] = []
for (let i = 0; i < entries; i++) {
  cache.push({ id: i, name: Buffer.alloc(text, `${i} `).toString('latin1'), list: [i, i + 1] })
}
Object.assign(globalThis, { cache, pending })
await new Promise((resolve) => setTimeout(resolve, 10))

/** Kilobytes; the peak is reset first where the system allows it, so that filling the heap does not count. */
function memory(field: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1])
}

const WAYS: Record<string, () => string[]> = {
  writeHeapSnapshot: () => {
    v8.writeHeapSnapshot(`${folder}/bench.heapsnapshot`)
    return []
  },
  stacks: () => {
    const facts = factsFromStacks(withSession((post) => driveSync(asyncStacks(), post)))
    return facts.suspended.map(({ fn, at }) => `${fn}:${at?.line}`)
  },
  look: () => {
    const facts = dumpSuspendedHere()
    const held = facts.suspended.flatMap(({ heldBy }) => heldBy.map(({ path }) => path))
    return [...facts.suspended.map(({ fn, at }) => `${fn}:${at?.line}`), ...held, ...facts.notes]
  },
  full: () => {
    const facts = dumpSuspendedHere({ limits: { surelyMb: 1e6 } })
    const held = facts.suspended.flatMap(({ heldBy }) => heldBy.map(({ path }) => path))
    return [...facts.suspended.map(({ fn, at }) => `${fn}:${at?.line}`), ...held, ...facts.notes]
  },
}

const bytes = smallObjectBytes()
const before = memory('VmRSS')
const peakBefore = memory('VmHWM')
const cpuBefore = process.cpuUsage()
const began = performance.now()
const found = WAYS[way]!()
const ms = performance.now() - began
const cpu = process.cpuUsage(cpuBefore)
const lines = new Map(
  readFileSync(new URL(import.meta.url), 'utf8')
    .split('\n')
    .flatMap((line, i) => (/ \/\/ @(\w+)$/.test(line) ? [[/ \/\/ @(\w+)$/.exec(line)![1]!, i + 1] as const] : [])),
)
console.log(
  JSON.stringify({
    ms,
    cpuMs: (cpu.user + cpu.system) / 1000,
    heapMb: bytes / 1024 / 1024,
    // The peak counts from the start of the process: what filling the heap took at its peak is not this look's.
    extraMb: Math.max(0, memory('VmHWM') - Math.max(before, peakBefore)) / 1024,
    line: found.includes(`reserve:${lines.get('reserve')}`) && found.includes(`acquire:${lines.get('acquire')}`),
    holder: found.includes('Lock.queue[0]'),
    step: found.find((note) => note.startsWith('step'))?.slice(0, 11) ?? '',
  }),
)
process.exit(0)
