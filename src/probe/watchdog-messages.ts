/** What the main thread and the thread that watches it tell each other. */
import type { RedactNames } from '../dump/redact.ts'

export const WATCHDOG_NAME = 'harrow watchdog'

/** When a dump is due. */
export type Watched =
  | { what: 'deadline'; ms: number }
  | { what: 'loop'; ms: number }
  | { what: 'signal'; signal: NodeJS.Signals }

/** A watch begins. */
export type Begin = Watched & {
  id: number
  /** When it began, milliseconds since the epoch: the thread may have started later. */
  at: number
  path: string | null
  redact: RedactNames
  heapLimit: number
}

/** `signals`: so many have come to the main thread; `end`: the watch is over, with id 0 all of them. */
export type ToWatchdog = Begin | { id: number; signals: number } | { id: number; end: true }

/** `ready`: the watch is kept from now on. */
export type FromWatchdog = { id: number } & ({ ready: true } | { path: string } | { error: string })
