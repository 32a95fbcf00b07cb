import { type InspectorClient, pause, within } from './client.ts'
import type { RawFrame, SyncStack } from './facts.ts'
import { hottestStack } from './hot-stack.ts'
import { MOST_LOCALS, readScope } from './locals.ts'

/** How {@link captureSyncStack} looks. */
export interface SyncStackOptions {
  /** Which scripts are the user's: locals are only read there. By default neither `node:` nor `node_modules`. */
  isUser?: (url: string) => boolean
  /** How many user frames, innermost first, get their locals; 6 by default. */
  localsOf?: number
  /** Expression evaluated on the innermost frame; `state` is its value, parsed when it is a string of JSON. */
  stateExpression?: string
  /**
   * Expression that queues a microtask and answers with an object whose property `ran` the microtask sets to true.
   * The default uses no global, so that a fake `Promise` or clock does not matter.
   */
  microtaskProbe?: string
  /** How long the thread may take to pause, in milliseconds; 1000 by default. */
  pauseMs?: number
  /** Time between the two samples, in milliseconds; 25 by default. */
  sampleMs?: number
}

/** What {@link captureSyncStack} took. */
export interface SyncStackCapture {
  stack: SyncStack
  /** Value of `stateExpression`; undefined when none was given or it failed. */
  state: unknown
}

// `await` takes the engine's own Promise whatever the global is. `nextTick` callbacks run before microtasks: a chain of
// them holds the microtask up for ever, and a tick queued behind them does not. A fake clock marks its fakes with
// `clock` (fake-timers `hijackMethod`) and would only keep the tick.
const MICROTASK_PROBE = `(() => {
  const slot = { ran: false };
  (async () => { await undefined; slot.ran = true })();
  try {
    const { process } = globalThis;
    if (!('clock' in process.nextTick)) process.nextTick(() => { slot.ran = true });
  } catch {}
  return slot;
})()`

const GROUP = 'harrow'
const EVALUATE_MS = 500
const RESUME_MS = 500
/** How long a thread is watched whose stops show nothing but Node's own functions. */
const WATCH_MS = 60
const MOST_FRAMES = 200

interface CallFrame {
  callFrameId: string
  functionName: string
  url?: string
  location: { scriptId: string; lineNumber: number; columnNumber?: number }
  scopeChain: { type: string; object: { objectId?: string } }[]
}

/**
 * Pauses a thread twice and reads its stack. The thread runs on afterwards with the debugger off, whatever happened.
 * @returns undefined when the thread did not pause: it sits in native code, or its loop is idle
 * @throws {ProbeError} when the inspector answers with an error or not at all
 */
export async function captureSyncStack(
  client: InspectorClient,
  options: SyncStackOptions = {},
): Promise<SyncStackCapture | undefined> {
  const { pauseMs = 1000, sampleMs = 25, microtaskProbe = MICROTASK_PROBE } = options
  const scripts = new Map<string, string>()
  const stopScripts = client.on('Debugger.scriptParsed', (params) => {
    const { scriptId, url } = params as { scriptId: string; url: string }
    if (url !== '') scripts.set(scriptId, url)
  })
  const stops = listenForStops(client)
  let reachable = false
  try {
    await client.post('Debugger.enable')
    reachable = true
    const first = await stops.pause(pauseMs)
    if (first === undefined) return undefined
    const frames = toFrames(first, scripts)
    // Sent together (the target takes them in this order and runs on after the last): over a socket each step that waits
    // for an answer takes up to 40 ms, the time of a delayed acknowledgement.
    const [state, slot] = await Promise.all([
      readState(client, first[0], options.stateExpression),
      evaluate(client, first[0], microtaskProbe, false).catch(() => undefined),
      addLocals(client, first, frames, options),
      stops.resume(),
    ])
    const telling = (url: string) => !/^$|^node:/.test(url)
    // A loop of promise jobs, ticks or timers is mostly hit between two callbacks.
    if (frames.some(({ at }) => at !== null && telling(at.url))) await pause(sampleMs)
    else frames.unshift(...(await hottestStack(client, telling, WATCH_MS).catch(() => [])))
    const again = await stops.pause(pauseMs).catch(() => undefined)
    const microtasks = again === undefined ? 'unknown' : await readSlot(client, slot?.objectId)
    return { stack: { frames, second: again === undefined ? [] : toFrames(again, scripts), microtasks }, state }
  } finally {
    stopScripts()
    stops.stop()
    client.post('Runtime.releaseObjectGroup', { objectGroup: GROUP }).catch(() => {})
    client.post('Debugger.resume').catch(() => {})
    const disabled = client.post('Debugger.disable').catch(() => {})
    // Who did not answer before will not answer now; it takes the message when it comes back.
    if (reachable) await disabled
  }
}

interface Stops {
  /** Asks for a pause and waits for it; undefined when the time is over. */
  pause(timeoutMs: number): Promise<CallFrame[] | undefined>
  /** Has the thread run on and waits until it does: a pause that is asked for earlier would be ignored. */
  resume(): Promise<void>
  stop(): void
}

/** A stop may come before it is asked for (a `debugger` statement of the user): it is kept, and serves as well. */
function listenForStops(client: InspectorClient): Stops {
  let stopped: CallFrame[] | undefined
  let tell = () => {}
  const stopPaused = client.on('Debugger.paused', (params) => {
    stopped = (params as { callFrames: CallFrame[] }).callFrames
    tell()
  })
  const stopResumed = client.on('Debugger.resumed', () => {
    stopped = undefined
    tell()
  })
  /** Asks, and waits for the answer and the event. Those who ask look at `stopped` to see whether it worked. */
  async function change(method: string, timeoutMs: number): Promise<void> {
    const happened = new Promise<void>((resolve) => {
      tell = resolve
    })
    const asked = client.post(method, {}, timeoutMs)
    await within(Promise.all([asked, happened]), timeoutMs, `${method} had no effect`).catch(() => {})
  }
  return {
    async pause(timeoutMs) {
      if (stopped === undefined) await change('Debugger.pause', timeoutMs)
      return stopped
    },
    async resume() {
      if (stopped !== undefined) await change('Debugger.resume', RESUME_MS)
    },
    stop() {
      stopPaused()
      stopResumed()
    },
  }
}

function urlOf({ url, location }: CallFrame, scripts: Map<string, string>): string {
  return scripts.get(location.scriptId) ?? url ?? ''
}

function toFrames(callFrames: CallFrame[], scripts: Map<string, string>): RawFrame[] {
  return callFrames.slice(0, MOST_FRAMES).map((callFrame) => {
    const { functionName, location } = callFrame
    const script = urlOf(callFrame, scripts)
    if (script === '') return { fn: functionName, at: null }
    return {
      fn: functionName,
      at: { url: script, line: location.lineNumber + 1, column: (location.columnNumber ?? 0) + 1 },
    }
  })
}

/** Asks for all of them at once, in the call itself. */
async function addLocals(
  client: InspectorClient,
  callFrames: CallFrame[],
  frames: RawFrame[],
  { isUser = isUserScript, localsOf = 6 }: SyncStackOptions,
): Promise<void> {
  const users = frames.flatMap((frame, index) => {
    const callFrame = callFrames[index]
    return callFrame !== undefined && frame.at !== null && isUser(frame.at.url) ? [{ frame, callFrame }] : []
  })
  await Promise.all(
    users.slice(0, localsOf).map(async ({ frame, callFrame }) => {
      // Positions without locals are worth having.
      const locals = await readLocals(client, callFrame).catch(() => ({}))
      if (Object.keys(locals).length > 0) frame.locals = locals
    }),
  )
}

/** Arguments and variables of one call: its scopes from the inside up to, and without, what the function closes over. */
async function readLocals(client: InspectorClient, { scopeChain }: CallFrame): Promise<Record<string, string>> {
  const end = scopeChain.findIndex(({ type }) => !['local', 'block', 'catch'].includes(type))
  const own = end === -1 ? scopeChain : scopeChain.slice(0, end)
  const scopes = await Promise.all(
    own.map(({ object }) => (object.objectId === undefined ? {} : readScope(client.post, object.objectId))),
  )
  // The outermost one, the function's own, holds the arguments; of equal names the innermost counts.
  const locals: Record<string, string> = Object.assign({}, ...scopes.reverse())
  return Object.fromEntries(Object.entries(locals).slice(0, MOST_LOCALS))
}

async function readState(client: InspectorClient, frame: CallFrame | undefined, expression?: string): Promise<unknown> {
  if (expression === undefined) return undefined
  try {
    const { value } = await evaluate(client, frame, expression, true)
    return typeof value === 'string' ? JSON.parse(value) : value
  } catch {
    return undefined
  }
}

interface Evaluated {
  value?: unknown
  objectId?: string
}

async function evaluate(
  client: InspectorClient,
  frame: CallFrame | undefined,
  expression: string,
  returnByValue: boolean,
): Promise<Evaluated> {
  if (frame === undefined) return {}
  const answer = await client.post('Debugger.evaluateOnCallFrame', {
    callFrameId: frame.callFrameId,
    expression,
    returnByValue,
    objectGroup: GROUP,
    silent: true,
    timeout: EVALUATE_MS,
  })
  const { result, exceptionDetails } = answer as { result: Evaluated; exceptionDetails?: unknown }
  return exceptionDetails === undefined ? result : {}
}

async function readSlot(client: InspectorClient, objectId: string | undefined): Promise<SyncStack['microtasks']> {
  if (objectId === undefined) return 'unknown'
  try {
    const answer = await client.post('Runtime.getProperties', { objectId, ownProperties: true })
    const { result } = answer as { result: { name: string; value?: { value?: unknown } }[] }
    const ran = result.find(({ name }) => name === 'ran')?.value?.value
    return ran === true ? 'turning' : ran === false ? 'still' : 'unknown'
  } catch {
    return 'unknown'
  }
}

function isUserScript(url: string): boolean {
  return !url.startsWith('node:') && !url.includes('/node_modules/')
}
