/**
 * Does a real fork work here? Every part of it is an internal of V8, libuv and the kernel, so it is tried and not looked up
 * (R-604, R-830): a child of a zygote works, says so, and ends in order.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { clearTick, setTick } from '../../process/clean.ts'
import { runtimeDir } from '../../process/runtime-dir.ts'
import type { ActorHandle, SpawnRequest } from '../backend.ts'
import { endZygotes } from './client.ts'

/** An actor whose parent cannot be reached looks for it, and ends with 1: code, file system, timers and sockets have worked. */
const NOBODY = 'unix:/nowhere/harrow-self-test.sock'

/** Success is remembered for this machine, kernel, Node version and binary; failure is tried again. */
export async function selfTest(spawn: (request: SpawnRequest) => ActorHandle): Promise<true | string> {
  const path = cachePath()
  if (isRemembered(path)) return true
  // Nothing else need keep this process alive meanwhile.
  const alive = setTick(() => {}, 1000)
  try {
    const answer = await tryOne(spawn)
    await endZygotes()
    if (answer === true) remember(path)
    return answer
  } finally {
    clearTick(alive)
  }
}

async function tryOne(spawn: (request: SpawnRequest) => ActorHandle): Promise<true | string> {
  const handle = spawn({
    aid: { name: 'self-test', uuid: randomUUID() },
    parentAddr: NOBODY,
    execArgv: [],
    env: {
      ...(process.env as Record<string, string>),
      HARROW_LOGLEVEL: 'silent',
      HARROW_TREE: `self-test-${process.pid}`,
    },
    output: { mode: 'pipe', line: () => {} },
    options: { fallback: false, retries: 1, bare: true },
  })
  const exit = await handle.wait()
  if (exit.error !== undefined) return exit.error instanceof Error ? exit.error.message : String(exit.error)
  return exit.code === 1 ? true : `a forked child ended with ${exit.signal ?? `exit code ${exit.code}`} instead of 1`
}

function cachePath(): string {
  const { size, mtimeMs } = statSync(process.execPath)
  const facts = [process.execPath, size, mtimeMs, process.version, process.arch, release()]
  const key = createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
  return join(runtimeDir(), `fork-works-${key}`)
}

function isRemembered(path: string): boolean {
  try {
    return readFileSync(path, 'utf8') === 'yes\n'
  } catch {
    return false
  }
}

function remember(path: string): void {
  try {
    const own = `${path}.${process.pid}`
    writeFileSync(own, 'yes\n', { mode: 0o600 })
    renameSync(own, path)
  } catch {
    // Tried again next time.
  }
}
