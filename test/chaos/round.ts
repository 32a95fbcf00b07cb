/** One round of chaos: a tree of actors that grows, is hurt at random, and must end in time with nothing left. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type ActorNursery,
  isCancelled,
  isHarrowError,
  isMultiCancelled,
  moveOnAfter,
  openNursery,
  openRoot,
  type Portal,
  type SpawnMethod,
  sleep,
} from '../../src/index.ts'
import { findMembers } from '../../src/reap/members.ts'
import { PROCESS_METHODS } from '../../src/spawn/methods.ts'
import type * as Chaos from '../fixtures/actors/chaos.ts'

/** mulberry32: small, seeded, the same everywhere. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const HARMS = ['kill', 'stop', 'spin', 'throw', 'breakLink', 'cancelActor', 'cancelScope', 'crash', 'nothing'] as const
export type Harm = (typeof HARMS)[number]

export interface Round {
  seed: number
  backend: SpawnMethod
  depth: number
  breadth: number
  harm: Harm
  ms: number
  /** Class of the error that left the root, or '' for none. */
  error: string
}

/** The longest that a tree of this depth may take to end, from the table of deadlines; and some for a busy machine. */
const limitMs = (depth: number): number => 15_000 + 10_000 * depth

/**
 * @throws when the tree does not end in time, leaves a process, or ends with an error that is not one of ours
 */
export async function chaosRound(seed: number, backend: SpawnMethod, maxDepth = 4): Promise<Round> {
  const rand = random(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(rand() * list.length)] as T
  // Deep and broad at once would be hundreds of processes on two cores.
  const depth = 1 + Math.floor(rand() * maxDepth)
  const breadth = depth > 2 ? 1 : 1 + Math.floor(rand() * 2)
  const processes = PROCESS_METHODS.includes(backend)
  const harm = pick(HARMS.filter((one) => processes || (one !== 'kill' && one !== 'stop')))
  const victim = Math.floor(rand() * depth)
  const delay = Math.floor(rand() * 40)
  const folder = mkdtempSync(join(tmpdir(), 'hrwc-'))
  const began = performance.now()
  const mark = randomUUID()
  let tree = ''
  let error: unknown
  try {
    const outcome = await moveOnAfter(limitMs(depth), async () => {
      await openRoot(
        {
          spawnMethod: backend,
          registryAddrs: [`unix:${folder}/r.sock`],
          logLevel: (process.env.CHAOS_LOG ?? 'silent') as 'silent',
          deadlines: { hardKillAfter: 800, threadAbandon: 1000 },
        },
        async (root) => {
          tree = root.aid.uuid
          await openNursery((an) => grow(an, { mark, depth, breadth, harm, victim, delay }))
        },
      )
    })
    if (outcome.timedOut) throw new Error(`not over after ${limitMs(depth)} ms`)
  } catch (thrown) {
    error = thrown
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const left = tree && processes ? findMembers({ tag: { name: 'HARROW_TREE', value: tree } }).members : []
  if (left.length > 0)
    throw new Error(
      `${harm}, depth ${depth}: left behind: ${left.map(({ pid, command }) => `${pid} ${command}`).join('; ')}`,
    )
  checkError(error, harm)
  return { seed, backend, depth, breadth, harm, ms: Math.round(performance.now() - began), error: nameOf(error) }
}

interface Plan {
  mark: string
  depth: number
  breadth: number
  harm: Harm
  victim: number
  delay: number
}

async function grow(an: ActorNursery, plan: Plan): Promise<void> {
  const module = new URL(`../fixtures/actors/chaos.ts`, import.meta.url)
  const portals: Portal<typeof Chaos>[] = []
  for (let i = 0; i < plan.breadth; i++) {
    portals.push(await an.startActor<typeof Chaos>(`c${i}`, { module }))
  }
  const [first] = portals
  if (!first) return
  await first.openContext('branch', [plan.depth - 1, plan.breadth], async (ctx) => {
    for (const portal of portals) void portal.call('work', 60_000).catch(() => {})
    await sleep(plan.delay)
    const path = plan.victim
    switch (plan.harm) {
      case 'cancelActor':
        await first.cancelActor()
        break
      case 'cancelScope':
        throw new Error('of the chaos')
      case 'breakLink':
        first.peer.destroy('broken by the chaos')
        break
      case 'nothing':
        break
      default:
        // Who is stopped gives no answer, and who is killed another one than a result.
        void first.call('hurt', plan.harm, path).catch(() => {})
    }
    if (plan.harm !== 'nothing') await sleep(400)
    await ctx.cancel()
  })
  await an.cancel()
}

/** Errors that a harm can lead to: ours, or what the code threw. Anything else is a bug, and so is a lost one. */
function checkError(error: unknown, harm: Harm): void {
  if (error === undefined) return
  const leaves = error instanceof AggregateError ? error.errors : [error]
  for (const leaf of leaves) {
    const fine =
      isHarrowError(leaf) || isCancelled(leaf) || isMultiCancelled(leaf) || (leaf as Error).message === 'of the chaos'
    if (!fine) throw new Error(`after ${harm}: an error that is not ours: ${String((leaf as Error).stack ?? leaf)}`)
  }
  if (leaves.some((leaf) => (leaf as { code?: string }).code === 'HARROW_INTERNAL')) throw error
}

const nameOf = (error: unknown): string =>
  error instanceof Error ? error.name : error === undefined ? '' : String(error)
