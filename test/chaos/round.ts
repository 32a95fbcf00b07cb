/**
 * One round of chaos: a tree of actors that grows, is hurt at random, and must end in time, with nothing left, and with the
 * very error that its harm leads to.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import {
  type ActorNursery,
  ActorTooSlowError,
  currentActor,
  isCancelled,
  isHarrowError,
  moveOnAfter,
  NoRuntime,
  openNursery,
  openRoot,
  type Portal,
  RemoteActorError,
  type RootOptions,
  type SpawnMethod,
  sleep,
  taskTree,
} from 'harrow'
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

const ON_PROCESSES = ['kill', 'stop'] as const
const EVERYWHERE = [
  'spin',
  'throw',
  'crash',
  'breakLink',
  'breakIpc',
  'cancelActor',
  'cancelScope',
  'deadline',
  'nothing',
] as const
export type Harm = (typeof ON_PROCESSES)[number] | (typeof EVERYWHERE)[number]

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

interface Plan {
  depth: number
  breadth: number
  harm: Harm
  /** So many actors below the first one is the one that is hurt. */
  victim: number
  /** Between the tree and the harm, or of the deadline of the whole; milliseconds. */
  delay: number
}

/** The longest that a tree of this depth may take to end, from the table of deadlines; and some for a busy machine. */
const limitMs = (depth: number): number => 15_000 + 10_000 * depth
/** A harm that ends actors has been noticed by then. */
const NOTICED_MS = 12_000
/** Harms that nobody is told of get so long to settle in. */
const SETTLE_MS = 150
const TEXT = 'of the chaos'

/** After it no other round can be run in this process. */
export class Fatal extends Error {}

function openActor(): string | undefined {
  try {
    return String(currentActor())
  } catch (error) {
    if (error instanceof NoRuntime) return undefined
    throw error
  }
}

/**
 * @throws when the tree does not end in time, leaves a process, or does not end with the error that its harm leads to
 */
export async function chaosRound(seed: number, backend: SpawnMethod, maxDepth = 4): Promise<Round> {
  const plan = planRound(random(seed), PROCESS_METHODS.includes(backend), maxDepth)
  const { depth, breadth, harm } = plan
  const folder = mkdtempSync(join(tmpdir(), 'hrwc-'))
  const began = performance.now()
  let tree = ''
  let error: unknown
  let cut = false
  try {
    const outcome = await moveOnAfter(limitMs(depth), async () => {
      const options: RootOptions = {
        spawnMethod: backend,
        registryAddrs: [`unix:${folder}/r.sock`],
        logLevel: (process.env.CHAOS_LOG ?? 'silent') as 'silent',
        deadlines: { hardKillAfter: 800, threadAbandon: 1000 },
      }
      const live = () =>
        openRoot(options, async (root) => {
          tree = root.aid.uuid
          await openNursery((an) => grow(an, plan))
        })
      if (harm === 'deadline') cut = (await moveOnAfter(plan.delay, live)).timedOut
      else await live()
    })
    if (outcome.timedOut) throw new Error(`not over after ${limitMs(depth)} ms`)
  } catch (thrown) {
    error = thrown
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const what = `${harm} of actor ${plan.victim}, depth ${depth}, breadth ${breadth}, after ${plan.delay} ms`
  const left = tree ? findMembers({ tag: { name: 'HARROW_TREE', value: tree } }).members : []
  if (left.length > 0) {
    throw new Error(`${what}: left behind: ${left.map(({ pid, command }) => `${pid} ${command}`).join('; ')}`)
  }
  const still = openActor()
  if (still) throw new Fatal(`${what}: ${still} is still open, ${inspect(taskTree(), { depth: 12 })}`)
  const wrong = wrongOutcome(harm, error, cut)
  if (wrong) throw new Error(`${what}: ${wrong}: ${inspect(error, { depth: 6 })}`)
  return { seed, backend, depth, breadth, harm, ms: Math.round(performance.now() - began), error: nameOf(error) }
}

function planRound(rand: () => number, processes: boolean, maxDepth: number): Plan {
  const depth = 1 + Math.floor(rand() * maxDepth)
  // Deep and broad at once would be hundreds of processes on two cores.
  const breadth = depth > 2 ? 1 : 1 + Math.floor(rand() * 2)
  const harms: readonly Harm[] = processes ? [...ON_PROCESSES, ...EVERYWHERE] : EVERYWHERE
  const harm = harms[Math.floor(rand() * harms.length)] as Harm
  const victim = Math.floor(rand() * depth)
  // A deadline may come at any step of the start, and after it.
  const delay = Math.floor(rand() * (harm === 'deadline' ? 250 * (depth + 1) : 40))
  return { depth, breadth, harm, victim, delay }
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
    await harmIt(first, plan)
    await ctx.cancel()
  })
  await an.cancel()
}

async function harmIt(first: Portal<typeof Chaos>, { harm, victim }: Plan): Promise<void> {
  switch (harm) {
    case 'nothing':
      return
    case 'cancelScope':
      throw new Error(TEXT)
    case 'throw': {
      const error = await first.call('hurt', harm, victim).then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      const told = error instanceof RemoteActorError && error.srcTypeName === 'RangeError'
      if (!told) throw new Error(`the throw of actor ${victim} came as ${inspect(error)}`)
      return
    }
    case 'cancelActor':
      await first.cancelActor()
      break
    case 'breakLink':
      first.peer.destroy('broken by the chaos')
      break
    case 'deadline':
      break
    default:
      // Who is stopped gives no answer, and who is killed another one than a result.
      void first.call('hurt', harm, victim).catch(() => {})
  }
  if (harm === 'stop' || harm === 'spin') await sleep(SETTLE_MS)
  else await sleep(NOTICED_MS).then(() => Promise.reject(new Error(`nothing came of it within ${NOTICED_MS} ms`)))
}

/** What is wrong with the error that left the root; each harm has its own, and none may be lost. */
function wrongOutcome(harm: Harm, error: unknown, cut: boolean): string | undefined {
  const leaves = leavesOf(error)
  const ours = (leaf: unknown): boolean => isHarrowError(leaf) || isCancelled(leaf) || textOf(leaf) === TEXT
  if (!leaves.every(ours)) return 'an error that is not ours'
  if (leaves.some((leaf) => (leaf as { code?: string }).code === 'HARROW_INTERNAL')) return 'an internal error'
  // On a busy machine the end of a deep tree may take longer than its limit: then that is what is said.
  const late = leaves.length > 0 && leaves.every((leaf) => leaf instanceof ActorTooSlowError)
  const failed = leaves.some((leaf) => !isCancelled(leaf))
  switch (harm) {
    case 'nothing':
    case 'throw':
      return error === undefined || late ? undefined : 'an error out of nothing'
    case 'deadline':
      return cut && error === undefined ? undefined : 'the deadline did not cut it'
    case 'cancelScope':
      return leaves.some((leaf) => textOf(leaf) === TEXT) ? undefined : 'the error of the body is lost'
    case 'cancelActor':
      return leaves.length > 0 ? undefined : 'the cancellation by somebody else than the context is lost'
    case 'crash':
      return inspect(error, { depth: 12 }).includes(TEXT) ? undefined : 'the error of the actor is lost'
    case 'kill':
    case 'breakLink':
    case 'breakIpc':
      return failed ? undefined : 'the failure is lost'
    default:
      // Who does not run may end late or by force; either way is fine.
      return undefined
  }
}

function leavesOf(error: unknown): unknown[] {
  if (error === undefined) return []
  return error instanceof AggregateError ? error.errors.flatMap(leavesOf) : [error]
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const nameOf = (error: unknown): string =>
  error instanceof Error ? error.name : error === undefined ? '' : String(error)
