/**
 * How long it takes to end 100 descendants, and what is left of them: harrow, tree-kill and a plain kill of the process
 * group take turns on trees of the same shape.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import treeKill from 'tree-kill'
import { endMarked, MARK, marked } from '../../scripts/dev/child.ts'
import { identify, isRunning, type ProcessIdentity } from '../../src/process/identity.ts'
import { isNative, loadNative } from '../../src/process/native.ts'
import { endMembers } from '../../src/reap/end.ts'
import { cleanEnv } from '../project.ts'
import { median, range, table } from './table.ts'

/** What one way of ending a tree came to. */
export interface ReapCost {
  method: string
  /** Descendants of each tree; the first process of the tree is one more. */
  descendants: number
  /** Milliseconds from the call until the last one that it ended was gone, without the polite wait. */
  ms: number[]
  medianMs: number
  /** Processes that were still there when nothing had changed for {@link QUIET_MS}. */
  survivors: number[]
}

interface Tree {
  pid: number
  tag: { name: string; value: string }
  began: number
}

interface Method {
  name: string
  /** Part of the time that was only waiting for the processes to end by themselves, milliseconds. */
  politeMs: number
  end(tree: Tree): Promise<unknown> | unknown
}

const POLITE_MS = 100
const START_MS = 30_000
/** Processes that die do so within this time after the last one that did. */
const QUIET_MS = 300
const MOST_MS = 10_000

const BRANCHES = 10
/** Of one branch: a shell, three shells below it, and two programs below each of those. */
const PER_BRANCH = 10

const harrow = (politeMs: number) => (tree: Tree) =>
  endMembers([], { politeMs, query: { tag: tree.tag, since: tree.began } })

const METHODS: Method[] = [
  { name: `harrow, ${POLITE_MS} ms of grace left out`, politeMs: POLITE_MS, end: harrow(POLITE_MS) },
  { name: 'harrow, no grace', politeMs: 0, end: harrow(0) },
  { name: 'tree-kill, SIGKILL', politeMs: 0, end: ({ pid }) => killTree(pid) },
  { name: 'kill(-pgid, SIGKILL)', politeMs: 0, end: ({ pid }) => process.kill(-pid, 'SIGKILL') },
]

function killTree(pid: number): Promise<void> {
  return new Promise((resolve, reject) => treeKill(pid, 'SIGKILL', (error) => (error ? reject(error) : resolve())))
}

/** A tree of which nothing goes by itself: SIGTERM is ignored, which programs inherit. */
const SCRIPT = `
trap "" TERM
leaves='sleep 600 & sleep 600 & wait'
branch() {
  sh -c "$leaves; :" &
  setsid sh -c "$leaves; :" &
  (setsid sh -c "$leaves; :" &)
  wait
}
for branch in ${Array.from({ length: BRANCHES }, (_, index) => index).join(' ')}; do branch & done
wait
`

/**
 * Runs all methods once per round, each on a tree of its own, in an order that turns from round to round.
 *
 * @throws Error off Linux, or when a tree does not come up
 */
export async function reapCosts(rounds: number): Promise<ReapCost[]> {
  if (process.platform !== 'linux') throw new Error('the suite "reap" needs Linux: it counts survivors through /proc')
  // As in a run: signals then go through process descriptors.
  if (!isNative(loadNative())) console.error('bench: without koffi, signals go to bare pids')
  const costs = METHODS.map(({ name }) => ({ method: name, ms: [] as number[], survivors: [] as number[] }))
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < METHODS.length; turn++) {
      const index = (round + turn) % METHODS.length
      const { ms, survivors } = await trial(METHODS[index]!)
      costs[index]!.ms.push(ms)
      costs[index]!.survivors.push(survivors)
    }
  }
  return costs.map((cost) => ({ ...cost, descendants: BRANCHES * PER_BRANCH, medianMs: median(cost.ms) }))
}

async function trial(method: Method): Promise<{ ms: number; survivors: number }> {
  const mark = randomUUID()
  const root = spawn('sh', ['-c', SCRIPT], {
    detached: true,
    stdio: 'ignore',
    env: cleanEnv({ [MARK]: mark }),
  })
  const stop = (): void => {
    endMarked(mark)
    process.exit(130)
  }
  process.once('SIGINT', stop)
  try {
    const members = await grown(root, mark)
    const began = Math.min(...members.map(({ start }) => start))
    const from = performance.now()
    await method.end({ pid: root.pid!, tag: { name: MARK, value: mark }, began })
    const gone = await untilQuiet(members)
    return { ms: gone - from - method.politeMs, survivors: marked(mark).length }
  } finally {
    process.off('SIGINT', stop)
    await endAll(mark)
  }
}

/** Waits until the tree is complete: all there, and all programs in the place of the shells that started them. */
async function grown(root: ChildProcess, mark: string): Promise<ProcessIdentity[]> {
  const leaves = (BRANCHES * PER_BRANCH * 6) / 10
  const end = performance.now() + START_MS
  for (;;) {
    const found = marked(mark)
    const programs = found.filter(({ command }) => command === 'sleep 600').length
    if (found.length === 1 + BRANCHES * PER_BRANCH && programs === leaves) {
      const members = found.flatMap(({ pid }) => identify(pid) ?? [])
      if (members.length === found.length) return members
    }
    if (root.pid === undefined || performance.now() > end) {
      throw new Error(`the tree has ${found.length} processes, ${programs} of them programs; it did not come up`)
    }
    await sleep(20)
  }
}

/** When the last one of those went that go at all. */
async function untilQuiet(members: ProcessIdentity[]): Promise<number> {
  let left = members.filter(isRunning)
  let changed = performance.now()
  const end = changed + MOST_MS
  while (left.length > 0 && performance.now() < Math.min(end, changed + QUIET_MS)) {
    await sleep(1)
    const now = left.filter(isRunning)
    if (now.length < left.length) changed = performance.now()
    left = now
  }
  return changed
}

/** A process between fork and exec has the mark of its parent, so two empty looks are enough. */
async function endAll(mark: string): Promise<void> {
  const end = performance.now() + MOST_MS
  for (let empty = 0; empty < 2 && performance.now() < end; ) {
    endMarked(mark)
    await sleep(5)
    empty = marked(mark).length === 0 ? empty + 1 : 0
  }
}

export function printReap(costs: ReapCost[]): void {
  if (costs.length === 0) return
  table(
    [`end of ${costs[0]!.descendants} descendants`, 'ms', 'range', 'survivors', 'rounds'],
    costs.map(({ method, ms, medianMs, survivors }) => [
      method,
      medianMs.toFixed(0),
      range(ms),
      range(survivors),
      String(ms.length),
    ]),
  )
}
