import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { AsyncFacts, SuspendedFunction } from '../../src/inspect/facts.ts'

/** Path of a program beside the tests. */
export function program(name: string): string {
  return fileURLToPath(new URL(`./programs/${name}`, import.meta.url))
}

/** Runs node to its end and answers with what it printed; kills it after 60 seconds. */
export async function runNode(
  args: string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

/** The functions of one owner. */
export function ownedBy(facts: AsyncFacts, owner: string): SuspendedFunction[] {
  return facts.suspended.filter((frame) => frame.owner === owner)
}

/** Names along `awaitedBy` from a function up, the function itself first. */
export function chainOf(facts: AsyncFacts, from: SuspendedFunction): string[] {
  const chain: string[] = []
  const byId = new Map(facts.suspended.map((frame) => [frame.id, frame]))
  for (let at: SuspendedFunction | undefined = from; at && chain.length < 50; at = byId.get(at.awaitedBy[0] ?? -1)) {
    chain.push(at.fn)
  }
  return chain
}
