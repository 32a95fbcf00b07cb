import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeFolder } from '../../src/process/make-folder.ts'

describe('makeFolder', () => {
  let root = ''
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'harrow-folder-'))
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  const mode = (path: string): number => statSync(path).mode & 0o777
  const codeOf = (path: string): string | undefined => {
    try {
      makeFolder(path, 0o700)
      return undefined
    } catch (error) {
      return (error as NodeJS.ErrnoException).code
    }
  }

  it('makes what is missing with its mode, and leaves what is there', () => {
    mkdirSync(join(root, 'a'), { mode: 0o755 })
    makeFolder(join(root, 'a', 'b', '..', 'c', 'd'), 0o700)
    makeFolder(join(root, 'a', 'c', 'd'), 0o755)
    expect(['a', 'a/c', 'a/c/d'].map((name) => mode(join(root, name)))).toEqual([0o755, 0o700, 0o700])
  })

  it('takes a link to a folder for one, and the root of the file system', () => {
    symlinkSync(root, join(root, 'link'))
    makeFolder(join(root, 'link', 'x'))
    makeFolder('/')
    expect(statSync(join(root, 'x')).isDirectory()).toBe(true)
  })

  it('throws where a file or a link to nothing is in the way', () => {
    writeFileSync(join(root, 'file'), '')
    symlinkSync(join(root, 'nothing'), join(root, 'dangling'))
    expect(['file', 'file/x', 'dangling'].map((name) => codeOf(join(root, name)))).toEqual([
      'EEXIST',
      'ENOTDIR',
      'EEXIST',
    ])
  })

  it.skipIf(process.platform !== 'linux')('throws at once where the system makes no folders', () => {
    expect(codeOf('/proc/nope')).toBe('ENOENT')
    expect(codeOf('/proc/nope/below')).toBe('ENOENT')
  })
})
