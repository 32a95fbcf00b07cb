/** A root in a process of its own, as a registrar for tests (R-724). */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { regAddr } from './reg-addr.ts'

export interface Daemon {
  /** Where its registry listens. */
  regAddr: string
  pid: number
}

export interface DaemonOptions {
  /** Modules whose functions it offers. */
  modules?: readonly (string | URL)[]
  regAddr?: string
  /** Milliseconds until it is there. @default 10_000 */
  limitMs?: number
}

const POLL_MS = 50
const READY_MS = 10_000
const STOP_MS = 6000

/**
 * Starts a registrar in a process of its own, runs `body`, and ends it by SIGINT. It is ready when it has written a file;
 * nobody connects to find out.
 *
 * @throws Error when it dies before it is ready, when it does not get ready in time, or when it does not end by SIGINT
 * @example
 * ```ts
 * import { findActor } from 'harrow'
 * import { actorTest, withDaemon } from 'harrow/vitest'
 *
 * actorTest('asks a registrar elsewhere', async () => {
 *   await withDaemon({}, async ({ regAddr }) => {
 *     await findActor('nobody', { registryAddrs: [regAddr] })
 *   })
 * })
 * ```
 */
export async function withDaemon<T>(options: DaemonOptions, body: (daemon: Daemon) => Promise<T>): Promise<T> {
  const address = options.regAddr ?? (await regAddr())
  const folder = mkdtempSync(join(tmpdir(), 'hrwd-'))
  const ready = join(folder, 'ready')
  const entry = fileURLToPath(
    new URL(`./daemon-entry${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
  )
  const { HARROW_BACKEND: _, ...env } = process.env
  const child = spawn(process.execPath, [entry, address, ready, ...(options.modules ?? []).map(String)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-4096)
  })
  const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  try {
    await untilReady(child, ready, options.limitMs ?? READY_MS, () => output)
    const value = await body({ regAddr: address, pid: child.pid as number })
    child.kill('SIGINT')
    const ended = await within(exit, STOP_MS)
    if (ended?.signal !== 'SIGINT') {
      throw new Error(
        `the daemon did not end by SIGINT, but ${ended ? `with ${ended.code ?? ended.signal}` : 'not at all'}\n${output}`,
      )
    }
    return value
  } finally {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await within(exit, STOP_MS)
    rmSync(folder, { recursive: true, force: true })
  }
}

async function untilReady(child: ChildProcess, file: string, limitMs: number, output: () => string): Promise<void> {
  const until = performance.now() + limitMs
  while (!existsSync(file)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the daemon died before it was ready: ${child.exitCode ?? child.signalCode}\n${output()}`)
    }
    if (performance.now() > until) throw new Error(`the daemon was not ready within ${limitMs} ms\n${output()}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

async function within<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, limitMs, undefined)
  })
  const value = await Promise.race([promise, late])
  clearTimeout(timer)
  return value
}
