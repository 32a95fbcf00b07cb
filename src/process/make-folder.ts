import { mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/** Somebody who tidies up may remove an empty folder between two of our steps. */
const TRIES = 3

/**
 * Makes a folder and those above it that are missing, one at a time. Instead of `mkdirSync(path, { recursive: true })`, which
 * goes round for ever where the system answers ENOENT for a folder whose parent is there, as below `/proc` (Node 24).
 *
 * @param mode of the folders that are made; those that are there keep theirs
 * @throws what the system says, at once
 */
export function makeFolder(path: string, mode = 0o777): void {
  const whole = resolve(path)
  for (let left = TRIES; !tryToMake(whole, mode, left === 1); left--);
}

/** @returns false when a folder that was there is gone; never on the last try */
function tryToMake(path: string, mode: number, isLast: boolean): boolean {
  const missing: string[] = []
  for (let at = path; !made(at, mode); at = dirname(at)) {
    missing.push(at)
    if (dirname(at) === at) break
  }
  for (const folder of missing.reverse()) {
    if (made(folder, mode)) continue
    if (isLast) mkdirSync(folder, { mode })
    return false
  }
  return true
}

/** @returns false when the system says that there is nothing to make it in */
function made(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    // A folder that is there is not always called EEXIST: the root of a drive, a read-only file system.
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return true
    throw error
  }
}
