/** What others read of a process in `/proc`: a forked child would go on showing its zygote's. */
import { readFileSync } from 'node:fs'
import { closeSync, openSync, writeSync } from '../../process/clean.ts'

/** Fields 50 and 51 of proc_pid_stat(5), counted from the state, which is field 3. */
const ENV_START = 50 - 3
const ENV_END = 51 - 3

/** Written first, so that they are there when there is no room for all. */
const LABELS = /^HARROW_/

/** Where the kernel has put the environment that this process was started with. */
export interface EnvironmentBlock {
  start: number
  bytes: number
}

/** In the zygote: from now on the C library keeps none of its variables in that block. */
export function detachEnvironment(): EnvironmentBlock | undefined {
  const env = { ...process.env }
  for (const name of Object.keys(env)) delete process.env[name]
  Object.assign(process.env, env)
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const start = Number(fields[ENV_START])
    const bytes = Number(fields[ENV_END]) - start
    return start > 0 && bytes > 0 ? { start, bytes } : undefined
  } catch {
    return undefined
  }
}

/**
 * Makes `process.env` this, by as few changes as possible: each one costs pages of memory.
 *
 * @param own what it is now
 */
export function replaceEnvironment(
  env: Readonly<Record<string, string>>,
  own: Readonly<Record<string, string | undefined>>,
): void {
  for (const name of Object.keys(own)) if (!Object.hasOwn(env, name)) delete process.env[name]
  for (const name of Object.keys(env)) if (own[name] !== env[name]) process.env[name] = env[name]
}

/**
 * Writes an environment into that block, so that `/proc/<pid>/environ`, by which the members of a run and the processes below
 * an actor are found, tells the truth.
 *
 * @returns false when it cannot be done: what is shown is the zygote's then
 */
export function showEnvironment(env: Readonly<Record<string, string>>, block: EnvironmentBlock | undefined): boolean {
  if (!block) return false
  let memory: number | undefined
  try {
    const names = Object.keys(env)
    const sorted = [...names.filter((name) => LABELS.test(name)), ...names.filter((name) => !LABELS.test(name))]
    const bytes = Buffer.alloc(block.bytes)
    let at = 0
    for (const name of sorted) {
      const entry = `${name}=${env[name]}\0`
      const length = Buffer.byteLength(entry)
      if (at + length <= bytes.length) at += bytes.write(entry, at)
    }
    memory = openSync('/proc/self/mem', 'r+')
    return writeSync(memory, bytes, 0, bytes.length, block.start) === bytes.length
  } catch {
    return false
  } finally {
    if (memory !== undefined) closeSync(memory)
  }
}
