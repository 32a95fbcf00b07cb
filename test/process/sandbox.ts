import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Real processes for one test, all with one mark in their environment, and a folder. */
export class Sandbox {
  readonly mark = `mark-${randomUUID()}`
  readonly tag = { name: 'HARROW_TEST_TAG', value: this.mark }
  readonly folder = mkdtempSync(join(tmpdir(), 'harrow-test-'))
  readonly #children: ChildProcess[] = []

  /** Starts a program with the mark in its environment. */
  start(command: string, args: string[], options: SpawnOptions = {}): number {
    return this.launch(command, args, options).pid!
  }

  launch(command: string, args: string[], options: SpawnOptions = {}): ChildProcess {
    const env = { PATH: process.env.PATH, [this.tag.name]: this.tag.value, ...options.env }
    const child = spawn(command, args, { stdio: 'ignore', ...options, env })
    child.on('error', () => {})
    this.#children.push(child)
    if (child.pid === undefined) throw new Error(`${command} did not start`)
    return child
  }

  shell(script: string, options?: SpawnOptions): number {
    return this.start('/bin/sh', ['-c', `${script}\n: ${this.mark}`], options)
  }

  node(code: string, options?: SpawnOptions): number {
    return this.start(process.execPath, ['-e', code], options)
  }

  fifo(name: string): string {
    const path = join(this.folder, name)
    execFileSync('mkfifo', [path])
    return path
  }

  /** Pids of all processes with the mark in their environment or command line, by a search of the test's own. */
  marked(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter(
        (pid) => pid > 0 && pid !== process.pid && ['environ', 'cmdline'].some((file) => this.#mentions(pid, file)),
      )
  }

  /** Those of {@link marked} that have the mark in their command line and are not dead. */
  inArguments(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && pid !== process.pid && this.#mentions(pid, 'cmdline'))
  }

  #mentions(pid: number, file: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(this.mark)
    } catch {
      return false
    }
  }

  async end(): Promise<void> {
    await until(() => {
      const marked = this.marked()
      // Stopped first: a shell would start the next command, which has no mark when the environment was emptied.
      for (const pid of marked) kill(pid, 'SIGSTOP')
      for (const pid of marked.flatMap((one) => [...childrenOf(one), one])) kill(pid, 'SIGKILL')
      for (const child of this.#children) child.kill('SIGKILL')
      return this.marked().length === 0
    })
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Ended by itself.
  }
}

/** Waits until a condition holds, at most 20 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never held: ${condition}`)
    await sleep(5)
  }
}

/** State letter straight from `/proc`, '' when gone. */
export function stateOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .charAt(0)
  } catch {
    return ''
  }
}

/** Pids of the children of all threads. */
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((tid) =>
      readFileSync(`/proc/${pid}/task/${tid}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
    )
  } catch {
    return []
  }
}

/** Gone, or dead and not yet collected. A main thread that ends before the others, whose files are still open, is not dead. */
export function isDead(pid: number): boolean {
  return ['', 'Z', 'X'].includes(stateOf(pid)) && threadCount(pid) <= 1
}

function threadCount(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length
  } catch {
    return 0
  }
}
