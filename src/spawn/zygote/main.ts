/**
 * The zygote: a Node process that loads what its children need, waits, and forks when it is asked. It never leads the life
 * of its children itself. Its first connection is that of its starter, on descriptor 3: it ends with it.
 *
 * The module is run by whoever imports it ({@link file://./entry.ts}); what its children are for is told by `run`.
 */
import { randomBytes } from 'node:crypto'
import { unlinkSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { createServer, Socket } from 'node:net'
import { constants } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { monotonic, setTimer, setTurn } from '../../process/clean.ts'
import { identify, isRunning, type ProcessIdentity } from '../../process/identity.ts'
import { removeSockets } from '../left-sockets.ts'
import { burnCaches } from './adopt.ts'
import { becomeChild, becomeSpare, type Life, rehearseBirth, type Zygote } from './child.ts'
import { descriptorTargets } from './descriptors.ts'
import { HotPages } from './hot-pages.ts'
import { watchInherited } from './inherited.ts'
import { detachEnvironment } from './memory.ts'
import { Practice } from './practice.ts'
import { onMessages, type Reply, type Request, SPARE_ENV, say } from './protocol.ts'
import { Quiet } from './quiet.ts'
import { placeSocket } from './socket.ts'
import { Spares } from './spares.ts'
import { loadForkCalls } from './syscalls.ts'
import { warmModules } from './warm-modules.ts'

/**
 * Something that is under way may end within so many looks; then the request is refused (the requester takes `spawn`). Not a
 * time: a zygote that got no processor meanwhile has not seen it end.
 */
const LOOKS = 10
const LOOK_MS = 5
const STARTER_FD = 3

const nodeFds = descriptorTargets()
const inherited = watchInherited()
const quiet = new Quiet(inherited)
const block = detachEnvironment()
const found = loadForkCalls()
if ('missing' in found) {
  console.error(`harrow: no zygote can be had: ${found.missing}`)
  process.exit(1)
}
const calls = found
// While modules are loaded nothing is read: the kernel looks after our end. Afterwards we end our children before.
calls.deathSignal(constants.signals.SIGKILL)

interface Requester {
  socket: Socket
  /** Its children that still run, by pid, with the number of the request. */
  children: Map<number, { id: number; stay: boolean }>
}

const entry = process.argv[1]!
const root = identify(process.ppid)
const requesters = new Set<Requester>()
const waiting: { requester: Requester; request: Request }[] = []
let isChild = false

let life: Life
let hot: HotPages
let env: Record<string, string> = {}
let path = ''
let practice: Practice | undefined
const starter = serve(new Socket({ fd: STARTER_FD, readable: true, writable: true }))

/**
 * Loads what the children need, and serves from then on.
 *
 * @param loadLife loads what all of them need, and with that their life
 */
export async function run(loadLife: () => Promise<Life>): Promise<void> {
  try {
    life = await loadLife()
    hot = new HotPages(calls, life.telling)
    setFlagsFromString('--lazy')
    for (const specifier of process.argv.slice(2)) warmModules.set(specifier, await import(specifier))
    setFlagsFromString('--no-lazy-feedback-allocation')
    // The first time V8 compiles, the second time it notes what is used.
    for (let n = 0; n < 2; n++) {
      rehearseBirth(calls, block)
      await life.rehearse?.()
    }
    setFlagsFromString('--lazy-feedback-allocation')
    burnCaches()
    burnCaches()
    const server = createServer((socket) => serve(socket))
    path = await placeSocket(server)
    process.on('SIGCHLD', collect)
    process.title = 'harrow zygote'
    env = { ...process.env } as Record<string, string>
    if (life.hasSpares) practice = Practice.begin(calls, env, (order) => spares.practise(order))
    // Modules that were loaded leave things that end within a turn.
    await new Promise((resolve) => setTurn(resolve))
    quiet.settle()
    calls.deathSignal(0)
    say(starter.socket, { type: 'ready', path, pid: process.pid })
    // We end by `_exit`, which does not.
    flushCompileCache?.()
  } catch (error) {
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error)
    starter.socket.end(`${JSON.stringify({ type: 'failed', why } satisfies Reply)}\n`, () => process.exit(1))
  }
}

function serve(socket: Socket): Requester {
  const requester: Requester = { socket, children: new Map() }
  requesters.add(requester)
  quiet.change(1)
  onMessages<Request>(socket, (request) => {
    waiting.push({ requester, request })
    pump()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    if (isChild) return
    quiet.change(-1)
    requesters.delete(requester)
    endChildren(requester)
    if (requester === starter) end()
  })
  return requester
}

/** Serves what waits, in its order. */
function pump(looks = 1): void {
  while (waiting.length > 0 && !isChild) {
    const { requester, request } = waiting[0]!
    if (!requesters.has(requester)) {
      waiting.shift()
      continue
    }
    // One that was forked already needs no quiet.
    const spare = spares.take(request.order)
    if (spare !== undefined) {
      waiting.shift()
      born(requester, request, spare)
      continue
    }
    const why = quiet.reason()
    if (why !== undefined && looks < LOOKS) {
      // One with a reference would be under way itself.
      setTimer(pump, LOOK_MS, looks + 1).unref()
      return
    }
    waiting.shift()
    if (why !== undefined) say(requester.socket, { type: 'refused', id: request.id, why })
    else forkFor(requester, request)
  }
}

function forkFor(requester: Requester, request: Request): void {
  const pid = fork(true, (zygote) => becomeChild(zygote, request.order, life))
  if (pid === 0) return
  if (pid < 0) {
    say(requester.socket, { type: 'refused', id: request.id, why: `fork failed: ${calls.lastError()}` })
    return
  }
  hot.watch(pid, () => requester.children.has(pid))
  born(requester, request, pid)
}

function born(requester: Requester, { id, order }: Request, pid: number): void {
  requester.children.set(pid, { id, stay: order.stay })
  say(requester.socket, { type: 'born', id, pid })
  // It may have ended before we noted it.
  collect()
  if (life.hasSpares) spares.refill()
}

/**
 * @param tells it leads its life from now on, and no other before
 * @returns the pid, -1 when there is none, 0 in the child
 */
function fork(tells: boolean, become: (zygote: Zygote) => void): number {
  hot.prepare(tells)
  const fds = descriptorTargets()
  const zygote = { calls, hot, nodeFds, fds, inherited, block, env, seed: randomBytes(16), entry }
  const pid = calls.fork()
  if (pid !== 0) {
    if (pid > 0) burnCaches()
    return pid
  }
  hot.fetchAhead()
  // The connections in these are closed with everything else that is the zygote's.
  isChild = true
  waiting.length = 0
  requesters.clear()
  become(zygote)
  return 0
}

const spares: Spares = new Spares(
  {
    calls,
    isQuiet: () => waiting.length === 0 && quiet.reason() === undefined,
    fork: (theirs) => fork(false, (zygote) => becomeSpare(zygote, theirs, life)),
    made: () => setTurn(() => practice?.once()),
  },
  process.env[SPARE_ENV] === 'off',
)

/** Collects its own children only: others are of Node's making. */
function collect(): void {
  for (const requester of requesters) {
    for (const [pid, { id }] of requester.children) {
      const how = calls.collect(pid)
      if (!how) continue
      requester.children.delete(pid)
      hot.ended(pid)
      say(requester.socket, { type: 'exit', id, ...how })
    }
  }
  for (const [pid] of orphans) {
    if (!calls.collect(pid)) continue
    orphans.delete(pid)
    const identity = killed.get(pid)
    if (identity) removeSockets(identity)
    killed.delete(pid)
  }
  if (spares.pid !== undefined && calls.collect(spares.pid)) spares.lost()
}

const orphans = new Map<number, true>()
/** Of these, those that are about to die. */
const killed = new Map<number, ProcessIdentity | undefined>()
/** From SIGKILL to the end; less than whoever ends us has patience. */
const DYING_MS = 500
const NOTHING = new Int32Array(new SharedArrayBuffer(4))

/**
 * Whoever ordered them is gone. They see that by their link; one that spins does not, and a child of ours has no other parent
 * whose end the kernel would tell it. Not collected yet, so the pid is theirs.
 */
function endChildren({ children }: Requester): void {
  for (const [pid, { stay }] of children) {
    orphans.set(pid, true)
    if (calls.collect(pid)) orphans.delete(pid)
    else if (!stay) {
      killed.set(pid, identify(pid))
      process.kill(pid, 'SIGKILL')
    }
  }
  children.clear()
}

function end(): void {
  for (const requester of requesters) endChildren(requester)
  spares.end()
  // Whoever waits for our end takes it for theirs.
  const until = monotonic() + DYING_MS
  for (collect(); killed.size > 0 && monotonic() < until; collect()) Atomics.wait(NOTHING, 0, 0, 1)
  try {
    unlinkSync(path)
  } catch {
    // It was not there yet.
  }
  // A root that was killed has nobody else who looks after its own.
  if (root && !isRunning(root)) removeSockets(root)
  calls.exitNow(0)
}
