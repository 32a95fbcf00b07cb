import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { RuntimeFailure } from '../errors.ts'
import { makeFolder } from './make-folder.ts'

const checked = new Set<string>()

/**
 * Folder of the sockets, logs and the key of this user: `$XDG_RUNTIME_DIR/harrow`, else `harrow-<uid>` in the temporary folder;
 * `HARROW_RUNTIME_DIR` beats both. Made with 0700.
 *
 * @throws RuntimeFailure when it is not ours, no folder, a link, or open to others
 */
export function runtimeDir(): string {
  const path = place()
  if (!checked.has(path)) {
    makeFolder(path, 0o700)
    checkOwned(path)
    checked.add(path)
  }
  return path
}

/** The same, looked up only: undefined when it is not there, or not ours alone. */
export function existingRuntimeDir(): string | undefined {
  const path = place()
  try {
    checkOwned(path)
    return path
  } catch {
    return undefined
  }
}

function place(): string {
  const { HARROW_RUNTIME_DIR: own, XDG_RUNTIME_DIR: xdg } = process.env
  if (own) return own
  if (xdg) return join(xdg, 'harrow')
  return join(tempFolder(), `harrow-${process.getuid?.() ?? 'user'}`)
}

/** What `os.tmpdir()` says, without loading it. */
function tempFolder(): string {
  const { TMPDIR, TMP, TEMP } = process.env
  return (TMPDIR || TMP || TEMP || (process.platform === 'win32' ? 'C:\\Temp' : '/tmp')).replace(/(.)[\\/]$/, '$1')
}

/** @throws RuntimeFailure unless it is a folder that only this user can enter */
export function checkOwned(path: string): void {
  const stat = lstatSync(path)
  const problem =
    (stat.isSymbolicLink() && 'is a link') ||
    (!stat.isDirectory() && 'is no folder') ||
    (process.getuid !== undefined && stat.uid !== process.getuid() && 'belongs to another user') ||
    (process.platform !== 'win32' && (stat.mode & 0o077) !== 0 && 'can be entered by others')
  if (problem) {
    throw new RuntimeFailure(`the runtime folder ${path} ${problem}: remove it, or name another in HARROW_RUNTIME_DIR.`)
  }
}
