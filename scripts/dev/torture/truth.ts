/**
 * Who is there, by a mark that no reaper of ours knows: a row of digits in the arguments or the environment. The search is
 * written without any code of `src`, whose errors it is to find.
 */
import { randomInt } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Variable with the mark; not one of `HARROW_*`, which a sidecar does not get. */
export const MARK_ENV = 'TORTURE_MARK'

export interface Marked {
  pid: number
  ppid: number
  /** Ticks since boot. */
  start: number
  state: string
  command: string
  /** A sidecar of ours, at work or waiting: no survivor as long as it goes in the end. */
  sidecar: boolean
}

export function makeMark(): string {
  return String(randomInt(10 ** 11, 10 ** 12))
}

/** All living processes with the mark, this one left out. */
export function marked(mark: string): Marked[] {
  const found: Marked[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    const command = read(pid, 'cmdline')
    if (!command.includes(mark) && !read(pid, 'environ').includes(mark)) continue
    const stat = read(pid, 'stat')
    const [state = '', ppid, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state === '' || state === 'Z' || state === 'X') continue
    const sidecar = command.includes('harrow-sidecar') || /\/reaper\.[jt]s\0/.test(command)
    const words = command.replaceAll('\0', ' ').trim()
    found.push({ pid, ppid: Number(ppid), start: Number(rest[17]), state, command: words, sidecar })
  }
  return found
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}

/** Waits until a condition holds. @returns whether it did within the time, milliseconds */
export async function until(condition: () => boolean, limitMs: number, stepMs = 50): Promise<boolean> {
  const end = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > end) return false
    await sleep(stepMs)
  }
  return true
}

/** Ends all that carries the mark, sidecars first: they would only join in. Stops them all before, for some go on forking. */
export async function endMarked(mark: string): Promise<boolean> {
  const gone = () => {
    for (const one of marked(mark)) send(one.pid, 'SIGSTOP')
    const found = marked(mark)
    for (const one of found) send(one.pid, 'SIGKILL')
    return found.length === 0
  }
  // A child that is between fork and exec when we look turns up only at the next look.
  return (await until(gone, 10_000, 5)) && (await until(gone, 1000, 5))
}

export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone meanwhile.
  }
}
