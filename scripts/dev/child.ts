import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Name of the environment variable that marks everything a {@link runChild} started. */
export const MARK = 'HARROW_DEV_MARK'

export interface ChildOptions {
  cwd: string
  env?: NodeJS.ProcessEnv
  /** Milliseconds until the child is ended: SIGTERM, and five seconds later SIGKILL to all that carries the mark. */
  limitMs: number
  /** `show`: the child writes to our terminal; `keep` (default): its output is in the result. */
  output?: 'show' | 'keep'
  /** Gets what it writes to stderr as it comes. */
  stderr?: (text: string) => void
}

export interface ChildResult {
  code: number | null
  signal: NodeJS.Signals | null
  /** stdout and stderr, mixed as they came; empty with `output: 'show'`. */
  output: string
  stdout: string
  /** True when it was ended at the limit. */
  late: boolean
  ms: number
  /** Processes that were still there after the child had ended. They were ended. */
  survivors: Survivor[]
}

export interface Survivor {
  pid: number
  command: string
}

const KILL_AFTER_MS = 5000
/** An ended child's pipes can be held open by a grandchild; nobody waits longer than this for them. */
const PIPES_MS = 1000
/** Ordinary children of a run may still be on their way out when the run itself has ended. */
const SETTLE_MS = 3000

/**
 * Runs one command with a bound, and ends whatever it leaves behind (found by a mark in the environment through /proc,
 * so on Linux only). SIGTERM and SIGHUP of ours go on to the child; after SIGINT it has five seconds.
 */
export async function runChild(command: string, args: string[], options: ChildOptions): Promise<ChildResult> {
  const mark = randomUUID()
  const show = options.output === 'show'
  const began = performance.now()
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...(options.env ?? process.env), [MARK]: mark },
    stdio: show ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let stdout = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output += text
    options.stderr?.(text)
  })

  let late = false
  let kill: NodeJS.Timeout | undefined
  const stop = (): void => {
    child.kill('SIGTERM')
    kill ??= setTimeout(() => {
      child.kill('SIGKILL')
      endMarked(mark)
    }, KILL_AFTER_MS)
  }
  const limit = setTimeout(() => {
    late = true
    stop()
  }, options.limitMs)
  // Ctrl-C reaches the child by itself, and a second signal from here would take the time away that it needs to end.
  let patience: NodeJS.Timeout | undefined
  const interrupt = (): void => {
    patience ??= setTimeout(stop, KILL_AFTER_MS)
  }
  process.on('SIGINT', interrupt)
  const signals = ['SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, stop)
  try {
    const closed = once(child, 'close')
    closed.catch(() => {})
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    await Promise.race([closed, sleep(PIPES_MS, undefined, { ref: false })])
    const ms = performance.now() - began
    const survivors = await leftOver(mark)
    return { code, signal, output, stdout, late, ms, survivors }
  } finally {
    clearTimeout(limit)
    clearTimeout(kill)
    clearTimeout(patience)
    process.off('SIGINT', interrupt)
    child.stdout?.destroy()
    child.stderr?.destroy()
    for (const signal of signals) process.off(signal, stop)
    endMarked(mark)
  }
}

/** Marked processes that do not go within {@link SETTLE_MS}. */
async function leftOver(mark: string): Promise<Survivor[]> {
  const end = performance.now() + SETTLE_MS
  let found = marked(mark)
  while (found.length > 0 && performance.now() < end) {
    await sleep(50)
    found = marked(mark)
  }
  return found
}

/** The living processes that carry `mark`; none where there is no /proc. */
export function marked(mark: string): Survivor[] {
  const needle = `${MARK}=${mark}`
  const found: Survivor[] = []
  let entries: string[]
  try {
    entries = readdirSync('/proc')
  } catch {
    return found
  }
  for (const entry of entries) {
    if (!/^\d+$/.test(entry)) continue
    try {
      if (!readFileSync(`/proc/${entry}/environ`, 'latin1').includes(needle)) continue
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1')
      if (stat[stat.lastIndexOf(')') + 2] === 'Z') continue
      const command = readFileSync(`/proc/${entry}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()
      found.push({ pid: Number(entry), command: command.slice(0, 120) })
    } catch {
      // Gone meanwhile, or another user's.
    }
  }
  return found
}

/** SIGKILL to every process that carries `mark`. */
export function endMarked(mark: string): void {
  for (const { pid } of marked(mark)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Gone meanwhile.
    }
  }
}
