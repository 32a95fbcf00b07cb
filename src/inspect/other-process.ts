/**
 * What another process does: the JavaScript of its threads when it is a Node process that lets itself be attached to, and
 * what the kernel says in any case. The process runs on afterwards, its inspector closed again.
 */
import { monotonic } from '../process/clean.ts'
import { descriptorTarget, openDescriptors, socketInode } from '../process/descriptors.ts'
import { identify, isRunning } from '../process/identity.ts'
import { linkTarget, readCommand, readEnvironTag, readStat, readText } from '../process/procfs.ts'
import { commandOf } from '../process/tree.ts'
import { attachProcess } from './attach-process.ts'
import { type InspectorClient, pause } from './client.ts'
import { explainStuck } from './kernel-wait.ts'
import { inspectTarget, type TargetFacts, type TargetOptions } from './target.ts'
import { inspectThreads, type ThreadFacts } from './threads.ts'

/** One process as it was seen. */
export interface ProcessLook {
  pid: number
  command: string
  /** What the kernel says, one sentence each, most telling first; empty where nothing can be known (not Linux). */
  kernel: string[]
  /** Its main thread; null when it is no Node process or was not attached to. */
  main: TargetFacts | null
  /** Its worker threads. */
  threads: ThreadFacts[]
  /** What is missing and why, one sentence each. */
  notes: string[]
  tookMs: number
}

const ATTACH_MS = 1200
/** Below this nothing comes of an attachment that is begun. */
const LEAST_MS = 300
const DEFAULT_PORT = 9229

/**
 * Looks at processes, as many at the same time as their inspector's ports allow. Never rejects. Each of them gets SIGUSR1
 * when it is a Node process: the caller vouches for it that they may be signalled.
 *
 * @param pids those that are gone are left out of the answer
 */
export async function inspectProcesses(pids: Iterable<number>, options: TargetOptions = {}): Promise<ProcessLook[]> {
  const { budgetMs = 3000 } = options
  const until = monotonic() + budgetMs
  const looks = await Promise.all(
    [...pids].map((pid) => inspectProcess(pid, { ...options, budgetMs: until - monotonic() })),
  )
  return looks.filter((look) => look !== undefined)
}

async function inspectProcess(pid: number, options: Required<Pick<TargetOptions, 'budgetMs'>> & TargetOptions) {
  const began = monotonic()
  const until = began + options.budgetMs
  const id = identify(pid)
  const stat = readStat(pid)
  if (!id || !stat || stat.state === 'Z') return undefined
  const look: ProcessLook = { pid, command: commandOf(pid), kernel: [], main: null, threads: [], notes: [], tookMs: 0 }
  look.kernel = await explainStuck(pid)
  const obstacle = isNodeProcess(pid) ? obstacleTo(look.kernel[0]) : 'it is no Node process'
  if (obstacle !== undefined) look.notes.push(`not attached: ${obstacle}`)
  else {
    await inTurn(portOf(pid), async () => {
      if (until - monotonic() < LEAST_MS)
        look.notes.push('not attached: the time for the processes of the test was over')
      else if (!isRunning(id)) look.notes.push('not attached: it has just ended')
      else if (!(await portIsFree(pid, until)))
        look.notes.push(`not attached: port ${portOf(pid)} of its inspector is taken`)
      else await attachAndLook(look, { ...options, budgetMs: until - monotonic() })
    })
  }
  look.tookMs = monotonic() - began
  return look
}

async function attachAndLook(look: ProcessLook, options: TargetOptions & { budgetMs: number }): Promise<void> {
  const until = monotonic() + options.budgetMs
  let client: InspectorClient | undefined
  try {
    client = await attachProcess(look.pid, { deadlineMs: Math.min(ATTACH_MS, options.budgetMs) })
    const rest = { ...options, budgetMs: until - monotonic() }
    const [main, { threads, notes }] = await Promise.all([inspectTarget(client, rest), inspectThreads(client, rest)])
    look.main = main
    look.threads = threads
    look.notes.push(...notes)
  } catch (error) {
    look.notes.push(`not attached: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    await client?.close()
  }
}

/** Is it a program of Node's, by the name of its binary, or the binary that runs this very code? Linux. */
export function isNodeProcess(pid: number): boolean {
  const program = linkTarget(`/proc/${pid}/exe`)?.replace(/ \(deleted\)$/, '')
  return program !== undefined && (/\/node(?:js)?[-\d.]*$/.test(program) || program === linkTarget('/proc/self/exe'))
}

/**
 * The inspector starts from the main thread, at the next line of JavaScript or turn of the loop. In a system call it would
 * start much later, when nobody waits for it any more.
 */
function obstacleTo(sentence: string | undefined): string | undefined {
  if (sentence === undefined) return undefined
  if (/^main thread is (?:idle in its event loop|on the CPU|blocked in futex)/.test(sentence)) return undefined
  return 'its main thread is in a system call or stopped, and no inspector starts there'
}

/** Node processes that were told nothing else open their inspectors on one port: they are attached to one by one. */
const turns = new Map<number, Promise<void>>()

async function inTurn(port: number, work: () => Promise<void>): Promise<void> {
  if (port === 0) return work()
  const before = turns.get(port) ?? Promise.resolve()
  const mine = before.then(work)
  turns.set(
    port,
    mine.catch(() => {}),
  )
  return mine
}

/** Port on which a process would open its inspector; 0: any that is free. */
export function portOf(pid: number): number {
  const said = /--(?:inspect|debug)-port[= ](?:[^\s:]*:)?(\d+)/
  const text = readCommand(pid) ?? ''
  const found = said.exec(text) ?? said.exec(readEnvironTag(pid, 'NODE_OPTIONS') ?? '')
  return found === null ? DEFAULT_PORT : Number(found[1])
}

/** Waits a moment for the port: the one who was looked at before may just be closing it. */
async function portIsFree(pid: number, until: number): Promise<boolean> {
  const port = portOf(pid)
  for (let tries = 0; port !== 0 && isTaken(pid, port); tries++) {
    if (tries >= 10 || monotonic() > until - LEAST_MS) return false
    await pause(20)
  }
  return true
}

/** Does somebody else listen there? State 0A is LISTEN (proc_pid_net(5)). */
function isTaken(pid: number, port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const own = new Set(openDescriptors(pid).flatMap((fd) => socketInode(descriptorTarget(pid, fd) ?? '') ?? []))
  const rows = (readText(`/proc/${pid}/net/tcp`) ?? '').split('\n').map((line) => line.trim().split(/\s+/))
  return rows.some(
    ([, local, , state, , , , , , inode]) =>
      state === '0A' && (local === `0100007F:${hex}` || local === `00000000:${hex}`) && !own.has(inode ?? ''),
  )
}
