import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { DumpRecord } from '../../src/dump/schema.ts'
import { type DumpProcessOptions, lookIntoProcess } from '../../src/probe/dump-process.ts'
import { programRecord } from '../../src/probe/record.ts'
import { cleanEnv } from '../project.ts'

const BIN = fileURLToPath(new URL('../../scripts/harrow.ts', import.meta.url))
export const STRIP = ['--experimental-strip-types', '--no-warnings']
/** Programs open their inspectors at a free port, so that tests may run beside each other. */
export const FREE_PORT = '--inspect-port=127.0.0.1:0'

/** A program that runs, and what it said first. */
export interface Target {
  pid: number
  said: string
  child: ChildProcess
}

const running = new Set<ChildProcess>()

/** Starts a program that knows nothing of harrow, and waits for its first word. */
export async function start(
  name: string,
  flags: string[] = [],
  options: { uid?: number; gid?: number; args?: string[] } = {},
): Promise<Target> {
  const path = fileURLToPath(new URL(`./programs/${name}`, import.meta.url))
  const { args = [], ...user } = options
  return startNode([FREE_PORT, ...flags, path, ...args], user)
}

export async function startNode(
  args: string[],
  options: { uid?: number; gid?: number; cwd?: string } = {},
): Promise<Target> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'], env: cleanEnv(), ...options })
  running.add(child)
  const [said] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => ['it ended'])])
  return { pid: child.pid!, said: String(said).trim(), child }
}

/** Ends all programs that were started here. */
export async function endAll(): Promise<void> {
  for (const child of running) {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGCONT')
      child.kill('SIGKILL')
      await ended
    }
  }
  running.clear()
}

export async function dumpOf(pid: number, options: DumpProcessOptions = {}): Promise<DumpRecord> {
  const { facts, scripts } = await lookIntoProcess(pid, options)
  return programRecord(facts, scripts, { again: `npx harrow dump ${pid}` })
}

export interface Said {
  code: number | null
  out: string
  err: string
}

/** The command `harrow`. */
export async function harrow(
  args: string[],
  options: { uid?: number; gid?: number; cwd?: string } = {},
): Promise<Said> {
  const child = spawn(process.execPath, [...STRIP, BIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: cleanEnv({ LC_ALL: 'C.UTF-8' }),
    timeout: 60_000,
    killSignal: 'SIGKILL',
    ...options,
  })
  const code = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await code, out, err }
}

/** Does SIGUSR1 wait to be delivered? */
export function isSignalPending(pid: number): boolean {
  const mask = /^ShdPnd:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0'
  return ((BigInt(`0x${mask}`) >> 9n) & 1n) === 1n
}
