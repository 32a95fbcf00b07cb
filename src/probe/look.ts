/** Looks at one thread over a connection, step by step. Each step has a bound; what it could not get is a note. */
import { type AsyncStacks, asyncStacks } from '../inspect/async-stacks.ts'
import { type InspectorClient, pause } from '../inspect/client.ts'
import { driveAsync } from '../inspect/drive.ts'
import type { AsyncFacts, SuspendedFunction, SyncStack } from '../inspect/facts.ts'
import { findGenerators } from '../inspect/heap/generators.ts'
import type { HeapGraph } from '../inspect/heap/graph.ts'
import { takeSnapshotOver } from '../inspect/heap/take.ts'
import { hottestStack } from '../inspect/hot-stack.ts'
import { factsFromStacks } from '../inspect/stack-facts.ts'
import { inspectSuspended } from '../inspect/suspended.ts'
import { captureSyncStack } from '../inspect/sync-stack.ts'
import { turns } from '../inspect/target.ts'
import { ABOUT, RESOURCES } from './expressions.ts'
import type { About, ThreadLook } from './facts.ts'
import type { Scripts } from './scripts.ts'

/** How a thread is looked at. */
export interface LookOptions {
  isUser: (url: string) => boolean
  redact: (name: string, value: string) => string
  /** Largest heap that is searched for holders, bytes; the process stands still meanwhile. */
  heapLimit: number
  /** The process uses so much of a CPU that it is worth knowing where. */
  busy: boolean
  /** Told what comes next. */
  step?: (name: string) => void
}

const ABOUT_MS = 1500
const TURN_MS = 400
const STACK_MS = 1000
/** One step of the search for suspended functions: a walk over the heap on a busy machine. */
const CALL_MS = 15_000
/** For looking at pending promises; about 10 microseconds each where the machine has nothing else to do. */
const STACKS_MS = 6000
const SNAPSHOT_MS = 30_000
const RESOLVE_MS = 1500
const RESOURCES_MS = 1500
const HOT_MS = 150
/** What was paused before we came says so right after the debugger is switched on. */
const PAUSED_MS = 30
/** Of more suspended functions than this, equal ones are one entry. */
const MOST_SINGLE = 400
const MOST_PLACES = 1000
/** Of so many functions, the locals of a few have to do. */
const FEW = 3
/** Keeps heap ids apart from places in a list. */
const APART = 2 ** 32

interface Thread {
  threadId: number
  name: string
  url: string
  client: InspectorClient
}

/** Never rejects. The thread runs on afterwards, unless another debugger held it before. */
export async function lookAtThread(
  { threadId, name, url, client }: Thread,
  scripts: Scripts,
  options: LookOptions,
): Promise<ThreadLook> {
  const look: ThreadLook = {
    threadId,
    name,
    url,
    state: 'native',
    about: null,
    sync: null,
    hot: [],
    async: null,
    resources: null,
    texts: new Map(),
    notes: [],
  }
  const step = async (what: string, work: () => Promise<void>): Promise<void> => {
    options.step?.(what)
    try {
      await work()
    } catch (error) {
      look.notes.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  await step('about', async () => {
    look.about = (await evaluateJson(client, ABOUT, ABOUT_MS)) as About
  })
  // Before the question below, which would be among what is open.
  if (look.about !== null) {
    await step('resources', async () => {
      look.resources = (await evaluateJson(client, RESOURCES, RESOURCES_MS)) as ThreadLook['resources']
    })
  }
  if (await turns(client, TURN_MS)) look.state = 'idle'
  else {
    await step('stack', () => stackOf(client, look, scripts, options))
    // An answer to nothing at all: whatever is asked next would only wait for its bound.
    if (look.state === 'native' && look.about === null) return look
  }
  if (look.state === 'idle') {
    if (options.busy) {
      await step('busy stack', async () => {
        look.hot = await hottestStack(client, options.isUser, HOT_MS)
      })
    }
    await step('suspended functions', async () => {
      look.async = await suspendedOf(client, look.about?.heapUsed ?? 0, options)
    })
    await step('scripts', () => scripts.listen(client))
  }
  await step('source texts', async () => {
    look.texts = await scripts.readTexts(client, urlsOf(look))
  })
  return look
}

function urlsOf({ sync, hot, async }: ThreadLook): Set<string> {
  const frames = [...(sync?.frames ?? []), ...(sync?.second ?? []), ...hot].flatMap(({ at }) => at?.url ?? [])
  return new Set([...frames, ...(async?.suspended ?? []).map(({ script }) => script)])
}

async function evaluateJson(client: InspectorClient, expression: string, ms: number): Promise<unknown> {
  const answer = await client.post('Runtime.evaluate', { expression, returnByValue: true, silent: true }, ms)
  const { result, exceptionDetails } = answer as {
    result: { value?: unknown; description?: string }
    exceptionDetails?: unknown
  }
  if (exceptionDetails !== undefined) throw new Error(result.description?.split('\n', 1)[0] ?? 'it failed')
  return JSON.parse(String(result.value))
}

async function stackOf(
  client: InspectorClient,
  look: ThreadLook,
  scripts: Scripts,
  options: LookOptions,
): Promise<void> {
  const held = await heldByAnother(client, scripts)
  if (held !== undefined) {
    look.state = 'paused'
    look.sync = held
    return
  }
  await scripts.listen(client)
  const seen = await captureSyncStack(client, { isUser: options.isUser, pauseMs: STACK_MS })
  if (seen === undefined) return
  look.state = 'blocked'
  look.sync = seen.stack
}

interface CallFrame {
  functionName: string
  location: { scriptId: string; lineNumber: number; columnNumber?: number }
}

/**
 * Frames of a thread that another debugger has stopped: it is reported to whoever switches the debugger on. It must not be
 * made to run on, so nothing is asked of it.
 */
async function heldByAnother(client: InspectorClient, scripts: Scripts): Promise<SyncStack | undefined> {
  let frames: CallFrame[] | undefined
  const stop = client.on('Debugger.paused', (params) => {
    frames = (params as { callFrames: CallFrame[] }).callFrames
  })
  try {
    await scripts.listen(client, { keep: true })
    await pause(PAUSED_MS)
    if (frames === undefined) return undefined
    const raw = frames.map(({ functionName, location }) => {
      const url = scripts.urlOf(client, location.scriptId)
      const at = { url, line: location.lineNumber + 1, column: (location.columnNumber ?? 0) + 1 }
      return { fn: functionName, at: url === '' ? null : at }
    })
    return { frames: raw, second: [], microtasks: 'unknown' }
  } finally {
    stop()
    await client.post('Debugger.disable', {}, STACK_MS).catch(() => {})
  }
}

async function suspendedOf(client: InspectorClient, heapUsed: number, options: LookOptions): Promise<AsyncFacts> {
  const { isUser, redact, heapLimit } = options
  const post = (method: string, params?: object): Promise<unknown> => client.post(method, params, CALL_MS)
  const stacks = await driveAsync(asyncStacks({ budgetMs: STACKS_MS }), post, CALL_MS)
  const many = countFrames(stacks) > MOST_SINGLE
  if (heapUsed > heapLimit) {
    const facts = factsFromStacks(stacks, { isUser, maxListed: MOST_PLACES })
    const mb = (bytes: number): number => Math.round(bytes / 1024 / 1024)
    facts.notes.push(
      `who holds what is awaited was not looked for: ${mb(heapUsed)} MB of heap in use, the limit is ${mb(heapLimit)} MB`,
    )
    return facts
  }
  options.step?.('heap')
  const heap = await takeSnapshotOver(client, SNAPSHOT_MS)
  const search = { isUser, redact, budgetMs: RESOLVE_MS }
  if (!many) return driveAsync(inspectSuspended(heap, search), post, CALL_MS)
  const few = { ...search, stacks: false, maxResolve: FEW, localsFor: FEW }
  const found = await driveAsync(inspectSuspended(heap, few), post, CALL_MS)
  return folded(stacks, found, heap, isUser)
}

function countFrames({ stacks }: AsyncStacks): number {
  return stacks.reduce((sum, { frames }) => sum + frames.filter(({ at }) => at !== null).length, 0)
}

/** Equal ones as one entry with its count, and what the search of the heap knows of one of them. */
function folded(stacks: AsyncStacks, found: AsyncFacts, heap: HeapGraph, isUser: (url: string) => boolean): AsyncFacts {
  const facts = factsFromStacks(stacks, { isUser, maxListed: MOST_PLACES })
  const known = new Map<string, SuspendedFunction>()
  for (const one of found.suspended) {
    const key = keyOf(one.fn, one.script, one.definedAt?.line)
    if (!known.has(key) || (known.get(key)?.heldBy.length === 0 && one.heldBy.length > 0)) known.set(key, one)
  }
  const counts = countFunctions(heap)
  const places = new Map<string, number>()
  for (const { fn, script, definedAt } of facts.suspended) {
    const key = keyOf(fn, script, definedAt?.line)
    places.set(key, (places.get(key) ?? 0) + 1)
  }
  const suspended = facts.suspended.map((one) => {
    const key = keyOf(one.fn, one.script, one.definedAt?.line)
    const same = known.get(key)
    // Several promises may lead to one function, so that those say less than the functions themselves.
    const { count: _promises, ...rest } = one
    const count = places.get(key) === 1 ? counts.get(key) : one.count
    return { ...rest, heldBy: same?.heldBy ?? [], ...(count !== undefined && count > 1 && { count }) }
  })
  // V8 tells no waiters of a promise that has several, and had only so much time.
  const unseen = found.suspended
    .filter((one) => !places.has(keyOf(one.fn, one.script, one.definedAt?.line)))
    .map((one) => ({ ...one, id: APART + one.id, awaitedBy: one.awaitedBy.map((id) => APART + id) }))
  return { ...facts, suspended: [...suspended, ...unseen], nodes: found.nodes, tookMs: found.tookMs }
}

/** How many of each function are suspended. */
function countFunctions(heap: HeapGraph): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { fn, script, definedAt } of findGenerators(heap)) {
    const key = keyOf(fn, script, definedAt === null ? undefined : definedAt.line + 1)
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

function keyOf(fn: string, script: string, line: number | undefined): string {
  return `${fn} ${script}:${line}`
}
