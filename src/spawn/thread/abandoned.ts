/** Threads that sit in a system call and that nobody waits for any more. */

import { writeSync } from 'node:fs'
import { clearTick, setTick } from '../../process/clean.ts'

let count = 0

export function abandonedThreads(): number {
  return count
}

/** @returns a function for the case that it ends all the same */
export function threadAbandoned(): () => void {
  count++
  let back = false
  return () => {
    if (!back) count--
    back = true
  }
}

/** Ends this process without joining its threads, which `process.exit()` does: by SIGKILL, with the code as a line on stderr. */
export function exitNow(code: number): void {
  if (count === 0) return
  try {
    writeSync(
      2,
      `harrow: ${count} thread(s) sit in a system call; the process ends by SIGKILL instead of exit code ${code}\n`,
    )
  } catch {
    // Nobody reads it.
  }
  process.kill(process.pid, 'SIGKILL')
}

const LOOK_MS = 50
/** Ports of a worker that stay referenced for as long as its thread does, `unref()` or not (Node 24). */
const PORTS_EACH = 3

let watching = false

/**
 * From now on this process ends when it has nothing else to do, although a thread of it sits in a system call; `exit()` would
 * join that thread, and its ports keep the event loop alive.
 */
export function leaveThreadsBehind(): void {
  if (watching) return
  watching = true
  const onExit = (code: number): void => exitNow(code)
  process.once('exit', onExit)
  const timer = setTick(() => {
    if (count === 0) {
      watching = false
      clearTick(timer)
      process.removeListener('exit', onExit)
    } else if (isIdle()) exitNow(Number(process.exitCode ?? 0))
  }, LOOK_MS)
}

/** Is nothing active but the ports of those threads, our own output, and our own timer? */
function isIdle(): boolean {
  const counts = new Map<string, number>()
  for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1)
  const most: Record<string, number> = {
    MessagePort: count * PORTS_EACH,
    PipeWrap: OUTPUTS,
    TTYWrap: OUTPUTS,
    Timeout: 1,
  }
  return [...counts].every(([name, active]) => active <= (most[name] ?? 0))
}

/** stdout and stderr, which are listed when they are pipes or a terminal. */
const OUTPUTS = 2
