import { UsageError } from '../errors.ts'
import type { DumpRecord } from './schema.ts'

/** Checks a value at a path; throws a {@link UsageError} that names the path. */
type Check = (value: unknown, path: string) => void
type Fields = Record<string, Check>

/** Longer than any list in a real dump; keeps a hostile file from taking the reader down. */
const MAX_ITEMS = 20_000
/** More threads than this in one dump would make a text of many megabytes. */
const MAX_THREADS = 1000

function wrong(path: string, expected: string, value: unknown): UsageError {
  return new UsageError(`not a harrow dump: ${path} should be ${expected}, but is ${describe(value)}`)
}

function describe(value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `a list${value.length > MAX_THREADS ? ` of ${value.length}` : ''}`
  if (typeof value === 'object') return 'an object'
  if (typeof value !== 'string') return `the ${typeof value} ${String(value)}`
  return `the string ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)}`
}

const text: Check = (value, path) => {
  if (typeof value !== 'string') throw wrong(path, 'a text', value)
}
const number: Check = (value, path) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(path, 'a number', value)
}
const whole: Check = (value, path) => {
  if (!Number.isInteger(value)) throw wrong(path, 'a whole number', value)
}
const flag: Check = (value, path) => {
  if (typeof value !== 'boolean') throw wrong(path, 'true or false', value)
}
const oneOf =
  (...values: string[]): Check =>
  (value, path) => {
    if (typeof value !== 'string' || !values.includes(value)) throw wrong(path, `one of ${values.join(', ')}`, value)
  }
const orNull =
  (check: Check): Check =>
  (value, path) => {
    if (value !== null) check(value, path)
  }
const listOf =
  (check: Check, most = MAX_ITEMS): Check =>
  (value, path) => {
    if (!Array.isArray(value)) throw wrong(path, 'a list', value)
    if (value.length > most) throw wrong(path, `a list of at most ${most} items`, value)
    // Not `forEach`, which would skip the holes of a list that comes from elsewhere than JSON.
    for (let i = 0; i < value.length; i++) check(value[i], `${path}[${i}]`)
  }
const mapOf =
  (check: Check): Check =>
  (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object', value)
    for (const [key, item] of Object.entries(value)) check(item, `${path}.${key}`)
  }
const object =
  (required: Fields, optional: Fields = {}): Check =>
  (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object', value)
    const fields = value as Record<string, unknown>
    for (const [key, check] of Object.entries(required)) check(fields[key], path === '' ? key : `${path}.${key}`)
    for (const [key, check] of Object.entries(optional)) {
      if (fields[key] !== undefined) check(fields[key], path === '' ? key : `${path}.${key}`)
    }
  }

const site = object({ path: text, line: whole }, { column: whole })
const frameOptional: Fields = { source: text, next: text, locals: mapOf(text), user: flag, hidden: whole }
const frame = object({ fn: text, site }, frameOptional)
const heldBy = object({ owner: text, path: text }, { event: text, fakeClock: flag })
const awaitFrame = object(
  { fn: text, site, id: whole, awaitedBy: listOf(whole), owner: orNull(text), heldBy: listOf(heldBy), exact: flag },
  {
    ...frameOptional,
    count: whole,
    wait: object({ reason: text, for: text }, { created: site }),
    members: object({ of: text, pending: listOf(whole) }),
  },
)
const phase = oneOf('start', 'collect', 'hook', 'test', 'teardown', 'after-tests', 'program')
const program = object(
  { command: text, state: text },
  {
    inspector: oneOf('closed', 'open', 'debugger'),
    reason: text,
    cwd: text,
    uid: whole,
    cpuPercent: number,
    rssBytes: number,
    heapBytes: number,
    ageMs: number,
    notAttached: text,
  },
)

const header = object(
  {
    test: orNull(listOf(text)),
    file: site,
    phase,
    limitMs: number,
    waitedMs: number,
    at: text,
    backend: text,
    pid: whole,
    run: text,
  },
  {
    hook: text,
    project: text,
    node: text,
    platform: text,
    worker: whole,
    concurrent: listOf(listOf(text)),
    loop: oneOf('blocked', 'idle'),
    program,
  },
)
const verdict = object(
  { class: text, confidence: oneOf('certain', 'likely', 'guess'), diagnosis: text, evidence: listOf(text) },
  {
    variant: text,
    culprit: site,
    holder: site,
    hint: text,
    alsoConsidered: listOf(text),
    cycles: listOf(listOf(text)),
    culpritFrame: frame,
  },
)
const task = object(
  { id: text, parent: orNull(text), state: oneOf('running', 'parked', 'done', 'cancelling') },
  {
    name: text,
    kind: oneOf('task', 'nursery'),
    wait: object({ reason: text, sinceMs: number }, { on: text, by: text }),
    created: site,
    frames: listOf(frame),
  },
)
const resource = object({ id: text, type: text, ref: flag }, { ageMs: number, what: text, created: site, by: text })
const actor = object(
  { path: text, pid: whole, answered: flag, tasks: listOf(task), resources: listOf(resource) },
  {
    syncStack: listOf(frame),
    secondStack: listOf(frame),
    microtasks: oneOf('turning', 'still', 'unknown'),
    crumb: object({ call: text, detail: text, sinceMs: number, frames: listOf(frame) }),
    kernel: listOf(text),
    awaits: listOf(awaitFrame),
    owner: orNull(text),
    resourceCounts: mapOf(number),
  },
)
const processFact = object(
  { pid: whole, ppid: whole, state: text },
  {
    wchan: orNull(text),
    cpuPercent: number,
    rssBytes: number,
    ageMs: number,
    command: text,
    actor: text,
    orphan: flag,
  },
)
const texts = listOf(text)
const stream: Check = (value, path) => {
  streamDepth(value, path, 0)
}
const part = text
const stdio = listOf(object({ part, stream }))
const readable = object(
  { length: number, highWaterMark: number, flowing: orNull(flag), readers: number, pulled: flag },
  { ended: flag, endEmitted: flag },
)
const writable = object(
  { length: number, highWaterMark: number, ended: flag, needDrain: flag },
  { finished: flag, corked: flag },
)
const streamShape = object(
  { name: text, destroyed: flag },
  { closed: flag, errored: flag, readable, writable, transform: flag, web: flag },
)
/** A chain of pipes is no longer than this in a real dump. */
const MOST_PIPES = 16

function streamDepth(value: unknown, path: string, depth: number): void {
  streamShape(value, path)
  const { into } = value as { into?: unknown }
  if (into === undefined) return
  if (depth >= MOST_PIPES) throw wrong(`${path}.into`, `a chain of at most ${MOST_PIPES} pipes`, into)
  streamDepth(into, `${path}.into`, depth + 1)
}

const child = object(
  {
    pid: whole,
    command: text,
    exitCode: orNull(number),
    signalCode: orNull(text),
    connected: flag,
    stdio,
    kernel: orNull(
      object(
        { state: text, doing: orNull(text) },
        { cpuMs: number, spanMs: number, caught: texts, ignored: texts, blocked: texts, pending: texts },
      ),
    ),
    users: listOf(object({ pid: whole, command: text, part, does: oneOf('write', 'read', 'holds') })),
  },
  { killed: flag, created: site },
)
const server = object({ port: orNull(number), path: orNull(text), connections: orNull(number) }, { listening: flag })
const waitedFor = object({
  objects: listOf(
    object(
      { id: whole, name: text },
      { stream, server, child: object({ pid: whole }, { part }), worker: object({ threadId: number, stdio }) },
    ),
  ),
  children: listOf(child),
  signals: listOf(object({ pid: whole, signal: text, at: number, frames: listOf(frame) })),
  fetches: listOf(object({ port: orNull(number), at: number, frames: listOf(frame) })),
})
const other = object(
  { label: text, pid: whole, threadId: whole, state: oneOf('blocked', 'idle', 'native', 'unseen') },
  {
    created: site,
    syncStack: listOf(frame),
    secondStack: listOf(frame),
    microtasks: oneOf('turning', 'still', 'unknown'),
    awaits: listOf(awaitFrame),
    kernel: listOf(text),
    notes: listOf(text),
  },
)
const dump = object(
  {
    header,
    verdict,
    actors: listOf(actor, MAX_THREADS),
    processes: listOf(processFact),
    reproduce: listOf(text),
    capture: object({}, { tookMs: number, missing: listOf(text), redacted: whole, budgets: listOf(text) }),
  },
  {
    lost: object(
      { proven: flag, created: listOf(frame), awaited: listOf(frame) },
      { note: text, streams: listOf(text) },
    ),
    waitedFor,
    others: listOf(other, MAX_THREADS),
    fakeTimers: object({ on: flag, pending: whole, installed: listOf(frame) }),
  },
)

/**
 * The dump in a value that came from outside (a file, a pipe). Fields that this version does not know are kept.
 *
 * @throws UsageError when the value is no dump of format 1; the message names the field, what it should be and what it is
 */
export function parseDumpRecord(json: unknown): DumpRecord {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UsageError(`not a harrow dump: expected a JSON object, got ${describe(json)}`)
  }
  const { format } = json as { format?: unknown }
  if (format !== 1) {
    const newer = typeof format === 'number' && format > 1 ? '; a newer harrow wrote it, update harrow to read it' : ''
    throw new UsageError(`cannot read this dump: format should be 1, but is ${describe(format)}${newer}`)
  }
  dump(json, '')
  return json as DumpRecord
}
