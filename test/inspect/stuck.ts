import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

const program = fileURLToPath(new URL('../fixtures/stuck/program.ts', import.meta.url))
const thread = new URL('../fixtures/stuck/thread.mjs', import.meta.url)

/** A child whose stderr and stdout can be read. */
export type StuckProcess = ChildProcess & {
  pid: number
  stdout: NonNullable<ChildProcess['stdout']>
  stderr: NonNullable<ChildProcess['stderr']>
}

/** Starts a process that is about to get stuck in the named way. */
export async function startProcess(
  kind: string,
  { handler = false, flags = [] as string[] } = {},
): Promise<StuckProcess> {
  const strip = ['--experimental-strip-types', '--disable-warning=ExperimentalWarning']
  const child = spawn(process.execPath, [...strip, ...flags, program, kind, handler ? 'own-handler' : 'default'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  }) as StuckProcess
  await Promise.race([once(child.stdout, 'data'), failed(child)])
  return child
}

async function failed(child: StuckProcess): Promise<never> {
  let text = ''
  child.stderr.on('data', (chunk) => {
    text += chunk
  })
  await once(child, 'close')
  throw new Error(`the fixture ended early: ${text}`)
}

export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'exit')
  child.kill('SIGKILL')
  await closed
}

/** Starts a worker thread that is about to get stuck in the named way. */
export async function startThread(kind: string): Promise<Worker> {
  const worker = new Worker(thread, { workerData: kind, name: `stuck in ${kind}` })
  await once(worker, 'message')
  return worker
}

/** True once the target of kind `native` waits in the kernel; `threadId` is 0 for a process. */
export function waitsInKernel(pid: number, threadId: number): boolean {
  return existsSync(join(tmpdir(), `harrow-stuck-${pid}-${threadId}`))
}
