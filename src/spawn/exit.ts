import type { Exit } from './backend.ts'

/** How an actor ended, in the one form of logs, errors and reports: `rc=0`, `signal=SIGABRT`. */
export function formatExit(exit: Pick<Exit, 'code' | 'signal' | 'abandoned'>): string {
  if (exit.abandoned) return 'abandoned'
  if (exit.signal !== null) return `signal=${exit.signal}`
  return exit.code === null ? 'never started' : `rc=${exit.code}`
}
