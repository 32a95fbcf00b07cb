import { randomBytes } from 'node:crypto'
import { linkSync, lstatSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MessagingError } from '../errors.ts'
import { runtimeDir } from '../process/runtime-dir.ts'

const BYTES = 32

let known: Uint8Array | undefined

/**
 * The key that all actors of this user share, made when there is none: a file of 0600 in the runtime folder. It never travels.
 *
 * @throws MessagingError when the file is not ours alone
 */
export function authKey(): Uint8Array {
  known ??= load(join(runtimeDir(), 'key'))
  return known
}

function load(path: string): Uint8Array {
  const found = read(path)
  if (found) return found
  const own = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  writeFileSync(own, randomBytes(BYTES), { mode: 0o600, flag: 'wx' })
  try {
    // Whole or not at all, and the first one wins.
    linkSync(own, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    unlinkSync(own)
  }
  const made = read(path)
  if (!made) throw new MessagingError(`the key ${path} could not be made`)
  return made
}

function read(path: string): Uint8Array | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat) return undefined
  const ours = process.getuid === undefined || stat.uid === process.getuid()
  if (!stat.isFile() || !ours || (process.platform !== 'win32' && (stat.mode & 0o077) !== 0)) {
    throw new MessagingError(`the key ${path} is not a file that only its owner can read: remove it, it is made anew`)
  }
  const bytes = readFileSync(path)
  if (bytes.length !== BYTES)
    throw new MessagingError(`the key ${path} has ${bytes.length} bytes instead of ${BYTES}: remove it`)
  return bytes
}
