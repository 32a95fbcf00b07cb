import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/**
 * Writes a file so that it is either whole or absent: to a temporary name beside it (mode 0600), then renamed over what
 * was there. Works in an exit handler.
 *
 * @throws what the file system says; nothing half-written is left
 */
export function writeWhole(path: string, text: string): void {
  const temp = join(dirname(path), `.${basename(path).slice(0, 60)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    // `wx` neither follows a link nor writes into a file that somebody else put there.
    const fd = openSync(temp, 'wx', 0o600)
    try {
      writeFileSync(fd, text)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temp, path)
  } catch (error) {
    rmSync(temp, { force: true })
    throw error
  }
}

const SENTENCES: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'no permission to write there',
  EPERM: 'no permission to write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EEXIST: 'a part of the path is a file, not a folder',
  EISDIR: 'a folder is in the way',
  ENOENT: 'the folder does not exist and cannot be made',
  ENAMETOOLONG: 'the path is too long',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
  ELOOP: 'the path runs in a circle of links',
  EIO: 'the disk reported an error',
}

/** One sentence: what could not be written, why, with the code of the error. */
export function writeProblem(what: string, path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  const reason = code === undefined ? undefined : SENTENCES[code]
  return `could not write ${what} ${path}: ${reason === undefined ? message : `${reason} (${code})`}`
}
