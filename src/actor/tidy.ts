/** A tree that ends looks after what others could not remove: who is killed leaves its sockets and logs behind. */
import { lstatSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTurn } from '../process/clean.ts'
import { existingRuntimeDir } from '../process/runtime-dir.ts'

const STAMP = '.tidied'
const EVERY_MS = 10 * 60_000
const LIMIT_MS = 100

/**
 * Waits until logs of children that ended in order are removed, which is a turn after their end, so that the folder of the tree
 * can go; once in ten minutes sweeps the runtime folder, for a moment. Never rejects.
 */
export async function tidyUp(): Promise<void> {
  await new Promise<void>((resolve) => setTurn(() => resolve()))
  try {
    const folder = existingRuntimeDir()
    if (folder === undefined || !isDue(join(folder, STAMP))) return
    const { sweepRuntimeDir } = await import('../reap/left-by-actors.ts')
    await sweepRuntimeDir(folder, { limitMs: LIMIT_MS })
  } catch {
    // A folder that is gone meanwhile, or cannot be written to.
  }
}

function isDue(stamp: string): boolean {
  const before = lstatSync(stamp, { throwIfNoEntry: false })
  if (before && Date.now() - before.mtimeMs < EVERY_MS) return false
  writeFileSync(stamp, '', { mode: 0o600 })
  return true
}
