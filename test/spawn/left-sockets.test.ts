import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { identify } from '../../src/process/identity.ts'
import { removeSockets, removeSocketsOfDead } from '../../src/spawn/left-sockets.ts'

let folder: string
const before = process.env.HARROW_RUNTIME_DIR
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'left-'))
  process.env.HARROW_RUNTIME_DIR = folder
})
afterEach(() => {
  if (before === undefined) delete process.env.HARROW_RUNTIME_DIR
  else process.env.HARROW_RUNTIME_DIR = before
  rmSync(folder, { recursive: true })
})

function make(...names: string[]): void {
  for (const name of names) writeFileSync(join(folder, name), '')
}

test('of an ended process those with its pid and its start are removed, and nothing else', () => {
  make('a-1x.41.700.sock', '1y.41.700.sock', 'a-1x.41.701.sock', 'a.700.41.sock', 'a-1x.41.700.log', 'registry.sock')
  mkdirSync(join(folder, 'logs'))
  removeSockets({ bootId: 'any', pid: 41, start: 700 })
  expect(readdirSync(folder).sort()).toEqual([
    'a-1x.41.700.log',
    'a-1x.41.701.sock',
    'a.700.41.sock',
    'logs',
    'registry.sock',
  ])
})

test('those of a process that runs stay, and go once it is dead', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  try {
    const { pid, start } = identify(child.pid!)!
    const names = [`root-1a.${pid}.${start}.sock`, `1b.${pid}.${start}.sock`]
    make(...names, 'other-1c.1.1.sock')
    removeSocketsOfDead(join(folder, names[0]!))
    expect(readdirSync(folder)).toHaveLength(3)
    child.kill('SIGKILL')
    await exited
    removeSocketsOfDead(join(folder, names[0]!))
    expect(readdirSync(folder)).toEqual(['other-1c.1.1.sock'])
  } finally {
    child.kill('SIGKILL')
  }
})

test('a path of another folder, another name, and a folder that is not there are left alone', () => {
  make('a-1x.41.700.sock')
  const other = join(folder, 'sub')
  mkdirSync(other, { mode: 0o700 })
  removeSocketsOfDead(join(other, 'a-1x.41.700.sock'))
  removeSocketsOfDead(join(folder, 'registry.sock'))
  expect(readdirSync(folder)).toHaveLength(2)
  process.env.HARROW_RUNTIME_DIR = join(folder, 'none')
  removeSockets({ bootId: 'any', pid: 41, start: 700 })
  removeSocketsOfDead(join(folder, 'none', 'a-1x.41.700.sock'))
  expect(readdirSync(folder)).toHaveLength(2)
})
