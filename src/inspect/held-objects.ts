/**
 * Looks at the objects that tests wait for, in the thread that they live in: the owner of an awaited promise by its heap
 * id, and the handles that are open. Runs no code of the user's: fields and Node's own getters only.
 */
import { ChildProcess } from 'node:child_process'
import { Server, Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { type CpuMark, lookAtChild, markCpu } from './child-facts.ts'
import { classOf, readField, readStream } from './stream-state.ts'
import type { ChildFact, OpenSocket, ServerFact, StdioPart, StreamFact, WaitFacts, WaitObject } from './wait-facts.ts'

/** Finding an object by its heap id walks the whole heap. */
const MOST_OBJECTS = 4
const MOST_CHILDREN = 16
const MOST_SOCKETS = 200
const COMMAND_LENGTH = 120
const NAMED_PARTS: readonly StdioPart[] = ['stdin', 'stdout', 'stderr']

/** A call to the inspector of this thread; answers at once. */
type Post = (method: string, params?: object) => unknown

/** Where the inspector hands an object over. */
const HANDOVER = 'harrow.look'
const GROUP = 'harrow-look'

/** Begins a look; what is measured over time is measured from here on. */
export function beginLook(): { children: ChildProcess[]; cpu: CpuMark } {
  const children = activeHandles().filter((one): one is ChildProcess => one instanceof ChildProcess)
  return { children, cpu: markCpu(children.slice(0, MOST_CHILDREN).flatMap(({ pid }) => pid ?? [])) }
}

/**
 * Facts about the owners of awaited promises and about the children and connections of this thread.
 *
 * @param ids heap ids of owners (`HeldBy.id`), most important first; at most 4 are looked at
 * @param begun answer of {@link beginLook}, taken some time before
 * @param more children that may have ended, beside those that are alive
 * @param handleOf the id in the list of open handles of an object that is one
 */
export function lookAtHeld(
  post: Post,
  ids: readonly number[],
  begun: ReturnType<typeof beginLook> = beginLook(),
  more: Iterable<ChildProcess> = [],
  handleOf: (object: object) => number | undefined = () => undefined,
): WaitFacts {
  const held = new Map<number, object>()
  for (const id of [...new Set(ids)].slice(0, MOST_OBJECTS)) {
    const object = objectOf(post, id)
    if (object !== undefined) held.set(id, object)
  }
  const handles = activeHandles()
  const found = [...held.values(), ...begun.children, ...handles, ...more]
  const children = new Set(found.filter((one): one is ChildProcess => one instanceof ChildProcess))
  const listed = [...children].filter((child) => isOpen(child) || [...held.values()].includes(child))
  return {
    objects: [...held].map(([id, object]) => {
      const handle = handleBelow(object, handleOf)
      return { ...describe(id, object, children), ...(handle !== undefined && { handle }) }
    }),
    children: listed.slice(0, MOST_CHILDREN).flatMap((child) => childFact(child, begun.cpu) ?? []),
    sockets: handles.flatMap((handle) => socketFact(handle) ?? []).slice(0, MOST_SOCKETS),
  }
}

/** Undocumented, in every Node since 0.9; without it only what the heap led to is known. */
function activeHandles(): object[] {
  try {
    const list = (process as unknown as { _getActiveHandles?: () => unknown })._getActiveHandles?.()
    return Array.isArray(list) ? list.filter((one) => typeof one === 'object' && one !== null) : []
  } catch {
    return []
  }
}

function objectOf(post: Post, id: number): object | undefined {
  const key = Symbol.for(HANDOVER)
  let found: unknown
  try {
    const answer = post('HeapProfiler.getObjectByHeapObjectId', { objectId: String(id), objectGroup: GROUP })
    const objectId = (answer as { result?: { objectId?: string } } | undefined)?.result?.objectId
    if (objectId === undefined) return undefined
    const take = (object: unknown): void => {
      found = object
    }
    Object.defineProperty(globalThis, key, { configurable: true, value: take })
    const functionDeclaration = `function () { globalThis[Symbol.for('${HANDOVER}')](this) }`
    post('Runtime.callFunctionOn', { objectId, functionDeclaration, silent: true })
  } catch {
    // It is gone, or belongs to another realm, whose global we do not share.
  } finally {
    Reflect.deleteProperty(globalThis, key)
  }
  return isObject(found) ? found : undefined
}

function describe(id: number, object: object, children: ReadonlySet<ChildProcess>): WaitObject {
  const fact: WaitObject = { id, name: classOf(object), asyncIds: asyncIdsOf(object), ...particulars(object) }
  const stream = readStream(object)
  if (stream !== undefined) fact.stream = stream
  if (object instanceof Server) fact.server = serverFact(object)
  // A readline interface is a wait for its input, a worker of a cluster one for its process.
  const input = readField(object, 'input')
  const below = [object, input, readField(object, 'process')].filter(isObject)
  const child = below.map((one) => childOf(one, children)).find((one) => one !== undefined)
  if (child !== undefined) fact.child = child
  if (object instanceof Worker) {
    const threadId = getter(Worker, object, 'threadId')
    fact.worker = { threadId: typeof threadId === 'number' ? threadId : -1, stdio: workerStdio(object) }
  }
  const connection = object instanceof Socket ? object : (socketOf(object) ?? input)
  const socket = isObject(connection) ? socketFact(connection) : undefined
  if (socket !== undefined) {
    const { localPort, remotePort } = socket
    fact.socket = { localPort, remotePort, connecting: readField(connection as object, 'connecting') === true }
  }
  return fact
}

/** The handle that an object is or stands on. */
function handleBelow(object: object, handleOf: (object: object) => number | undefined): number | undefined {
  for (const one of [object, socketOf(object), readField(object, 'input')]) {
    const id = isObject(one) ? handleOf(one) : undefined
    if (id !== undefined) return id
  }
  return undefined
}

/**
 * An `import` of it asks for each of its exports, also for those that load half of Node when they are asked for; in a test that has
 * replaced what these need, that would be the end of the look.
 */
const http = (): typeof import('node:http') => process.getBuiltinModule('node:http')

/** The connection of a request or response. */
function socketOf(object: object): unknown {
  const { OutgoingMessage } = http()
  return object instanceof OutgoingMessage ? getter(OutgoingMessage, object, 'socket') : readField(object, 'socket')
}

/** Fields of Node's own objects that say what they are about. */
function particulars(object: object): Pick<WaitObject, 'signal' | 'request' | 'timer'> {
  if (object instanceof AbortSignal) {
    const driven = Object.getOwnPropertySymbols(object).some(
      (key) => /^k(?:Timeout|Composite)$/.test(key.description ?? '') && readField(object, key) === true,
    )
    return { signal: { aborted: getter(AbortSignal, object, 'aborted') === true, driven } }
  }
  const name = classOf(object)
  const { ClientRequest } = http()
  if (object instanceof ClientRequest) {
    const [method = '', path = '', host = ''] = ['method', 'path', 'host'].map((key) => {
      const value = getter(ClientRequest, object, key)
      return typeof value === 'string' ? value.slice(0, COMMAND_LENGTH) : ''
    })
    return { request: { method, path, host, sent: readField(object, 'finished') === true } }
  }
  if (name === 'Timeout') {
    const ms = readField(object, '_idleTimeout')
    if (typeof ms === 'number') return { timer: { ms, repeats: readField(object, '_repeat') != null } }
  }
  return {}
}

/** The child that an object is, or whose stdio it is a part of. */
function childOf(object: object, children: ReadonlySet<ChildProcess>): WaitObject['child'] {
  for (const child of children) {
    const pid = pidOf(child)
    if (pid === undefined) continue
    if (child === object) return { pid }
    const place = stdioOf(child).find(([, stream]) => stream === object)
    if (place !== undefined) return { pid, part: place[0] }
    if (readField(child, 'channel') === object || readField(child, '_channel') === object) return { pid, part: 'ipc' }
  }
  return undefined
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function pidOf(child: ChildProcess): number | undefined {
  const pid = readField(child, 'pid')
  return typeof pid === 'number' && Number.isInteger(pid) && pid > 0 ? pid : undefined
}

/** The ends of a child's stdio that this thread has. */
function stdioOf(child: ChildProcess): [StdioPart, object][] {
  const list = readField(child, 'stdio')
  if (!Array.isArray(list)) return []
  return list.slice(0, 10).flatMap((stream: unknown, i): [StdioPart, object][] => {
    const part = NAMED_PARTS[i] ?? (`stdio[${i}]` as const)
    return isObject(stream) ? [[part, stream]] : []
  })
}

function isOpen(child: ChildProcess): boolean {
  if (readField(child, 'exitCode') === null && readField(child, 'signalCode') === null) return true
  return stdioOf(child).some(([, stream]) => readStream(stream)?.closed === false)
}

function childFact(child: ChildProcess, cpu: CpuMark): ChildFact | undefined {
  const pid = pidOf(child)
  if (pid === undefined) return undefined
  const exitCode = readField(child, 'exitCode')
  const signalCode = readField(child, 'signalCode')
  const stdio: ChildFact['stdio'] = []
  const ends = new Map<StdioPart, number>()
  for (const [part, object] of stdioOf(child)) {
    const stream = readStream(object)
    if (stream !== undefined && !stream.closed) stdio.push({ part, stream })
    const fd = descriptorOf(object)
    if (fd !== undefined) ends.set(part, fd)
  }
  const channel = readField(child, 'channel')
  const connected = readField(child, 'connected') === true
  if (connected && channel) ends.set('ipc', descriptorOf({ _handle: channel }) ?? -1)
  return {
    pid,
    command: commandOf(child),
    exitCode: typeof exitCode === 'number' ? exitCode : null,
    signalCode: typeof signalCode === 'string' ? signalCode : null,
    killed: readField(child, 'killed') === true,
    connected,
    stdio,
    ...lookAtChild(pid, ends, cpu),
  }
}

function commandOf(child: ChildProcess): string {
  const args = readField(child, 'spawnargs')
  const words = Array.isArray(args) ? args.filter((word) => typeof word === 'string') : []
  const line = words.join(' ').replace(/\s+/g, ' ').trim()
  return line.length <= COMMAND_LENGTH ? line : `${line.slice(0, COMMAND_LENGTH - 1)}…`
}

/** Number of the descriptor behind a stream. */
function descriptorOf(stream: object): number | undefined {
  try {
    const fd = (readField(stream, '_handle') as { fd?: unknown } | null | undefined)?.fd
    return typeof fd === 'number' && fd >= 0 ? fd : undefined
  } catch {
    return undefined
  }
}

function asyncIdsOf(object: object): number[] {
  const ids: number[] = []
  for (const key of ['_handle', 'channel']) {
    try {
      const id = (readField(object, key) as { getAsyncId?: () => unknown } | null | undefined)?.getAsyncId?.()
      if (typeof id === 'number') ids.push(id)
    } catch {
      // Not a system handle, or closed.
    }
  }
  return ids
}

/** What a getter of a class of Node's answers for an object of a class that may override it. */
function getter(owner: { prototype: object }, object: object, name: string): unknown {
  try {
    const property = Object.getOwnPropertyDescriptor(owner.prototype, name)
    return property?.get === undefined ? readField(object, name) : Reflect.apply(property.get, object, [])
  } catch {
    return undefined
  }
}

function workerStdio(worker: Worker): { part: StdioPart; stream: StreamFact }[] {
  return NAMED_PARTS.flatMap((part) => {
    const stream = readStream(getter(Worker, worker, part))
    return stream === undefined || stream.closed ? [] : [{ part, stream }]
  })
}

function serverFact(server: Server): ServerFact {
  const connections = readField(server, '_connections')
  let address: unknown
  try {
    address = Reflect.apply(Server.prototype.address, server, [])
  } catch {
    address = null
  }
  return {
    port: typeof address === 'object' && address !== null ? (address as { port: number }).port : portOf(server),
    path: typeof address === 'string' ? address : null,
    listening: readField(server, '_handle') !== null,
    connections: typeof connections === 'number' ? connections : null,
  }
}

/** A closed server has no address any more, but those whom it accepted have. */
function portOf(server: Server): number | null {
  for (const handle of activeHandles()) {
    if (!(handle instanceof Socket) || readField(handle, 'server') !== server) continue
    const port = getter(Socket, handle, 'localPort')
    if (typeof port === 'number') return port
  }
  return null
}

function socketFact(handle: object): OpenSocket | undefined {
  if (!(handle instanceof Socket) || readField(handle, 'destroyed') === true) return undefined
  const local = getter(Socket, handle, 'localPort')
  const remote = getter(Socket, handle, 'remotePort')
  if (typeof local !== 'number' && typeof remote !== 'number') return undefined
  const server = readField(handle, 'server')
  return {
    asyncId: asyncIdsOf(handle)[0] ?? null,
    localPort: typeof local === 'number' ? local : null,
    remotePort: typeof remote === 'number' ? remote : null,
    accepted: server !== undefined && server !== null,
  }
}
