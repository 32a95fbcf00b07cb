/** What code waits for, a closed list: a dump prints it, and its reader need not guess. */
export const WAIT_REASONS = [
  'call reply',
  'context result',
  'stream item',
  'stream space',
  'child task',
  'child actor',
  'actor start',
  'actor stop',
  'lock',
  'event',
  'timer',
  'io',
  'process exit',
  'worker message',
  'module load',
  'hook',
  'promise',
] as const

export type WaitReason = (typeof WAIT_REASONS)[number]

/** One wait: why, on what, and who can end it. */
export interface Wait {
  reason: WaitReason
  /** What is waited for: `call 7`, `tally (spawn, pid 4912)`. */
  on?: string
  /** Who can end it. */
  by?: string
}
