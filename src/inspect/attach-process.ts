import { existsSync, readFileSync } from 'node:fs'
import { ProbeError } from '../errors.ts'
import { createWire, type InspectorClient, pause, within } from './client.ts'
import { clientsAt } from './inspector-ports.ts'
import { checkLoopback, findInspectorUrl } from './inspector-url.ts'

export {
  type ChatterFilter,
  inspectorChatterFilter,
  isInspectorChatter,
  withoutInspectorChatter,
} from './inspector-chatter.ts'
export { listenForInspectorUrl } from './inspector-url.ts'

// The user's test environment may put another WebSocket in its place later.
const Socket = globalThis.WebSocket

/** How long to wait for the answer to a closed connection. */
const CLOSE_MS = 500
/** How long to wait for another client to leave an inspector that was opened here. */
const OTHERS_MS = 2000
const POLL_MS = 20
/** For half a minute a look for an inspector that starts after we gave up. */
const LATE_MS = 500
const LATE_LOOKS = 60
/** Number of SIGUSR1 on Linux, see signal(7). */
const SIGUSR1_LINUX = 10n

/** How {@link attachProcess} finds and awaits the inspector. */
export interface AttachProcessOptions {
  /**
   * The inspector's address, or a function that gets it and is called before the signal goes out; usually
   * `listenForInspectorUrl(child.stderr)`. Without it the process's own loopback ports are asked.
   */
  url?: Promise<string> | (() => Promise<string>)
  /** How long the inspector may take to start and to answer, in milliseconds; 1500 by default. */
  deadlineMs?: number
  /** Only an inspector that is open already: the process gets no signal. */
  openOnly?: boolean
  /** Sends SIGUSR1; for a caller that knows the process better than by its pid. */
  send?: () => boolean
}

/** A connection to the inspector of another process. */
export interface AttachedProcess extends InspectorClient {
  /** Was the inspector open before? Then it stays open. */
  readonly wasOpen: boolean
  /** Address and port of the inspector. */
  readonly address: string
  /** Clients beside this one at the moment of connecting; undefined where the system does not tell. */
  readonly others: number | undefined
  /** Has the other side closed the connection? True for a process that ends; also for one that closes its inspector. */
  lost(): boolean
  /** After `close()`: is an inspector that was opened here closed again, as far as can be told? */
  leftOpen(): boolean
}

/**
 * Opens the inspector of another Node process (SIGUSR1) and connects to it. `close()` disconnects and, when the
 * inspector was opened here, has the process close it again.
 * @throws {ProbeError} when the inspector does not start in time: the thread sits in a system call, has a SIGUSR1
 *   listener of its own, or runs with `--disable-sigusr1`; or when the address is not on this machine
 */
export async function attachProcess(pid: number, options: AttachProcessOptions = {}): Promise<AttachedProcess> {
  const { deadlineMs = 1500, openOnly = false } = options
  if (Socket === undefined) throw new ProbeError('this runtime has no WebSocket to talk to an inspector with')
  const startedAt = performance.now()
  const late = `the inspector did not start within ${deadlineMs} ms`
  const existing = options.url === undefined ? await findInspectorUrl(pid) : undefined
  let url = existing
  if (url === undefined && openOnly) throw new ProbeError(`process ${pid} has no inspector open`)
  if (url === undefined) {
    const search = new AbortController()
    const pending = typeof options.url === 'function' ? options.url() : (options.url ?? pollForUrl(pid, search.signal))
    pending.catch(() => {})
    startInspector(pid, options.send)
    try {
      url = await within(pending, deadlineMs, late)
    } catch (error) {
      search.abort()
      // The signal stays pending in a blocked process: should the inspector come up later, it is closed again.
      if (options.url !== undefined) pending.then((address) => closeLateInspector(address)).catch(() => {})
      else watchForLateInspector(pid, LATE_LOOKS)
      throw error instanceof ProbeError ? error : new ProbeError(late, { cause: error })
    }
  }
  const left = Math.max(deadlineMs - (performance.now() - startedAt), 100)
  return connect(url, { pid, timeoutMs: left, closeInspector: existing === undefined })
}

/**
 * For the side that will be looked at: has SIGUSR1 open the inspector on a free port instead of 9229, so that several
 * workers can be looked at together and a debugger of the user is not in the way.
 */
export function useRandomDebugPort(): void {
  process.debugPort = 0
}

interface ConnectOptions {
  /** Whose inspector it is; undefined when nobody else can know of it. */
  pid?: number
  timeoutMs: number
  closeInspector: boolean
}

async function connect(address: string, { pid, timeoutMs, closeInspector }: ConnectOptions): Promise<AttachedProcess> {
  const url = checkLoopback(address)
  const socket = new Socket(url)
  let closing: Promise<void> | undefined
  const closed = new Promise<void>((resolve) => socket.addEventListener('close', () => resolve()))
  const wire = createWire((text) => socket.send(text))
  socket.addEventListener('message', (event) => wire.receive(String(event.data)))
  let lost = false
  socket.addEventListener('close', () => {
    lost ||= closing === undefined
    wire.end('the inspector closed the connection')
  })
  const open = new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve())
    socket.addEventListener('error', () => reject(new ProbeError(`could not connect to the inspector at ${url.host}`)))
  })
  try {
    await within(open, timeoutMs, `the inspector at ${url.host} did not answer within ${Math.round(timeoutMs)} ms`)
  } catch (error) {
    socket.close()
    throw error
  }

  let leftOpen = false
  const port = Number(url.port)
  const clients = pid === undefined ? undefined : clientsAt(pid, port)
  const others = clients === undefined ? undefined : Math.max(0, clients - 1)

  /** Closing would stop the thread until the last client is gone, such as a debugger that came meanwhile. */
  async function hasOthers(): Promise<boolean> {
    if (pid === undefined) return false
    const deadline = performance.now() + OTHERS_MS
    while ((clientsAt(pid, port) ?? 1) > 1) {
      if (performance.now() > deadline) return true
      await pause(POLL_MS)
    }
    return false
  }

  async function disconnect(): Promise<void> {
    // A target that is still paused would not run the next line. `disable` resumes it.
    await wire.post('Debugger.disable', {}, CLOSE_MS).catch(() => {})
    leftOpen = closeInspector && (await hasOthers())
    if (closeInspector && !leftOpen) {
      // `close()` waits until no client is left, so there is no answer to wait for. The module comes from the process
      // object, since an evaluated expression has neither `require` nor `import`.
      const expression = "globalThis.process?.getBuiltinModule('node:inspector').close()"
      wire.post('Runtime.evaluate', { expression, silent: true }, CLOSE_MS).catch(() => {})
      await within(closed, CLOSE_MS, 'still open').catch(() => {})
    }
    wire.end('the connection was closed')
    socket.close()
    await within(closed, CLOSE_MS, 'still open').catch(() => {})
  }

  return {
    wasOpen: !closeInspector,
    address: url.host,
    others,
    lost: () => lost,
    leftOpen: () => leftOpen,
    post: wire.post,
    on: wire.on,
    close() {
      closing ??= disconnect()
      return closing
    },
  }
}

function startInspector(pid: number, send: () => boolean = () => process.kill(pid, 'SIGUSR1')): void {
  const obstacle = obstacleToSignal(pid)
  if (obstacle !== undefined) throw new ProbeError(`the inspector of process ${pid} cannot be started: ${obstacle}`)
  let sent = false
  try {
    sent = send()
  } catch (cause) {
    throw new ProbeError(`could not send SIGUSR1 to process ${pid}`, { cause })
  }
  if (!sent) throw new ProbeError(`could not send SIGUSR1 to process ${pid}: it is gone or may not be signalled`)
}

/** SIGUSR1 would end a process that does not catch it: something that is no Node, or one that just starts. Linux only. */
function obstacleToSignal(pid: number): string | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    // Masks in hexadecimal, bit n-1 for signal n: proc_pid_status(5).
    const has = (mask: string): boolean => {
      const value = new RegExp(`^${mask}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1]
      return value !== undefined && ((BigInt(`0x${value}`) >> (SIGUSR1_LINUX - 1n)) & 1n) === 1n
    }
    if (has('SigCgt')) return undefined
    // With `--disable-sigusr1` Node blocks the signal.
    if (has('SigBlk') || has('SigIgn')) return 'it does not take SIGUSR1 (--disable-sigusr1)'
    return 'it has no handler for SIGUSR1 and would be ended by it'
  } catch {
    return undefined
  }
}

async function pollForUrl(pid: number, signal: AbortSignal): Promise<string> {
  for (;;) {
    const url = await findInspectorUrl(pid)
    if (url !== undefined) return url
    if (signal.aborted) throw new ProbeError('gave up looking for the inspector')
    await pause(POLL_MS)
  }
}

/** Looks now and then without keeping this process alive. */
function watchForLateInspector(pid: number, looks: number): void {
  const look = async (): Promise<void> => {
    const url = await findInspectorUrl(pid)
    if (url !== undefined) await closeLateInspector(url)
    else if (existsSync(`/proc/${pid}`)) watchForLateInspector(pid, looks - 1)
  }
  if (looks > 0) setTimeout(() => void look().catch(() => {}), LATE_MS).unref()
}

async function closeLateInspector(address: string): Promise<void> {
  const client = await connect(address, { timeoutMs: CLOSE_MS, closeInspector: true })
  await client.close()
}
