// The process that forks, for scripts/dev/smoke-fork.ts: program.ts SCENARIO [HOW MANY]
import { createHook } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { pbkdf2, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { endOf, endOfNow, exitNow, getpid, realFork } from './forks.ts'

const HANG_MS = 4000
const collectGarbage = (globalThis as { gc?: () => void }).gc ?? (() => {})
const ends: Record<string, number> = {}
const notes: string[] = []
const count = (end: string): void => {
  ends[end] = (ends[end] ?? 0) + 1
}
const derive = promisify(pbkdf2)

/** What programs do: timers, garbage, files, crypto, sockets, other programs. */
async function work(): Promise<void> {
  await sleep(1)
  let kept: object[] = []
  for (let i = 0; i < 300_000; i++) {
    kept.push({ i })
    if (kept.length > 50_000) kept = []
  }
  collectGarbage()
  await readFile('/proc/self/stat')
  await derive('a', 'b', 100, 32, 'sha256')
  await promisify(execFile)('/bin/true')
  const server = createServer((socket) => socket.end('x'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => connect(port, '127.0.0.1').on('data', resolve))
  server.close()
}

/** Never settles: what is left of the stack below is the parent's. */
const never = (): Promise<never> => new Promise(() => {})

async function each(n: number, child: () => Promise<void>): Promise<void> {
  for (let i = 0; i < n; i++) {
    const pid = realFork()
    if (pid === 0) {
      setTimeout(() => child().catch(() => exitNow(9)), 1)
      return await never()
    }
    count(await endOf(pid, HANG_MS))
  }
}

/** The worst that a fresh page can do: the child touches every page at once. */
async function race(n: number): Promise<void> {
  const kept: object[][] = []
  for (let i = 0; i < n; i++) {
    kept.push(Array.from({ length: 50 + ((i * 7919) % 4000) }, (_, x) => ({ x })))
    if (kept.length > 200) kept.splice(0, 100)
    const pid = realFork()
    if (pid === 0) {
      let sum = 0
      for (const list of kept) for (const one of list) sum += (one as { x: number }).x
      collectGarbage()
      exitNow(sum < 0 ? 1 : 0)
    }
    count(endOfNow(pid))
  }
}

async function inFlight(n: number): Promise<void> {
  let jobs = 0
  // process.getActiveResourcesInfo() does not list these.
  createHook({
    init(_id, type) {
      if (type === 'PBKDF2REQUEST') jobs++
    },
  }).enable()
  for (let i = 0; i < n; i++) {
    const under = Array.from({ length: 6 }, () => derive('a', 'b', 100_000, 32, 'sha256'))
    if (i === 0) notes.push(`seen: ${jobs === 6}`)
    const pid = realFork()
    if (pid === 0) {
      setTimeout(() => void derive('a', 'b', 10, 32, 'sha256').then(() => exitNow(0)), 50)
      return await never()
    }
    await Promise.all(under)
    count(await endOf(pid, 1500))
  }
}

async function nested(): Promise<void> {
  const pids = [getpid()]
  const deeper = (depth: number): boolean => {
    const pid = realFork()
    if (pid === 0) {
      pids.push(getpid())
      if (depth > 0) return deeper(depth - 1)
      setTimeout(() => void work().then(() => exitNow(new Set(pids).size === 4 ? 0 : 8)), 1)
      return true
    }
    const end = endOfNow(pid)
    if (pids.length > 1) exitNow(end === 'code 0' ? 0 : 7)
    count(end)
    return false
  }
  if (deeper(2)) await never()
}

/** Ends of children that have adopted what they must: each as their program meant it. */
async function zygote(n: number): Promise<void> {
  randomUUID()
  const lives: [string, () => unknown][] = [
    ['code 0', () => work().then(() => process.exit(0))],
    ['code 5', () => process.exit(5)],
    ['code 1', () => Promise.reject(new Error('of the smoke test'))],
    ['signal 15', () => process.kill(process.pid, 'SIGTERM')],
    ['signal 9', () => process.kill(process.pid, 'SIGKILL')],
  ]
  for (let i = 0; i < n; i++) {
    const [wanted, life] = lives[i % lives.length]!
    const pid = realFork()
    if (pid === 0) {
      adopt()
      setTimeout(life, 1)
      setTimeout(() => {}, 2 * HANG_MS)
      return await never()
    }
    const end = await endOf(pid, HANG_MS)
    count(end)
    if (end !== wanted) count(`${end} instead of ${wanted}`)
  }
}

function adopt(): void {
  Object.defineProperty(process, 'pid', { value: getpid(), configurable: true, writable: true })
  const inside = process as unknown as { reallyExit(code: number): void; _fatalException(error: unknown): boolean }
  inside.reallyExit = (code) => exitNow(code ?? 0)
  inside._fatalException = () => {
    exitNow(1)
    return true
  }
}

/** In the child of a worker nobody answers: its main thread was not copied. */
function fromWorker(): void {
  parentPort!.once('message', () => {
    const pid = realFork({ adoptLoop: false })
    if (pid !== 0) {
      parentPort!.postMessage(pid)
      return
    }
    parentPort!.once('message', () => exitNow(0))
    parentPort!.postMessage('ping')
    setTimeout(() => exitNow(3), 1000)
  })
}

async function control(): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: 'control' })
  const pid = await new Promise<number>((resolve) => {
    worker.on('message', (said: number | 'ping') => (said === 'ping' ? worker.postMessage('pong') : resolve(said)))
    worker.postMessage('fork')
  })
  count(await endOf(pid, HANG_MS))
}

if (!isMainThread && workerData === 'control') fromWorker()
else {
  const [scenario, many = '1'] = process.argv.slice(2)
  const n = Number(many)
  if (scenario === 'control') await control()
  else if (scenario === 'main-thread') await each(n, () => work().then(() => process.exit(0)))
  else if (scenario === 'single-threaded') await each(n, () => work().then(() => void exitNow(0)))
  else if (scenario === 'zygote') await zygote(n)
  else if (scenario === 'race') await race(n)
  else if (scenario === 'in-flight') await inFlight(n)
  else await nested()
  console.log(`RESULT=${JSON.stringify({ ends, notes })}`)
  process.exit(0)
}
