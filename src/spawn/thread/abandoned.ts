/** Threads that sit in a system call and that nobody waits for any more. */
import { writeSync } from 'node:fs'

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
