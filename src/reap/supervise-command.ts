import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { delimiter, join } from 'node:path'
import { readText } from '../process/procfs.ts'

/** Signals that go on to the command. */
export const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const
export type Forwarded = (typeof FORWARDED)[number]

/** How a command ended, as a shell would say it. */
export interface CommandEnd {
  /** Its exit code; 128 + n after signal n; 127 when there is no such command, 126 when it cannot be started. */
  code: number
  signal: NodeJS.Signals | null
  /** Why it was never started; null when it was. */
  problem: string | null
}

export interface CommandOptions {
  env: NodeJS.ProcessEnv
  stdio?: StdioOptions
  /** Called with the process as soon as there is one. */
  started?(child: ChildProcess & { pid: number }): void
  /** Sends a signal on. Default: to the command itself, unless the terminal has sent it there already. */
  forward?(signal: Forwarded): void
  /** A signal that came when the command had ended, or before it was started. */
  late?(signal: Forwarded): void
}

/**
 * Runs one command with our stdio and passes signals on to it, until {@link Command.release} is called: from then on they
 * have their usual effect on this process again.
 */
export class Command {
  readonly ended: Promise<CommandEnd>
  #child: ChildProcess | undefined
  readonly #options: CommandOptions
  readonly #handlers = FORWARDED.map((signal) => [signal, () => this.#got(signal)] as const)

  constructor(command: string, args: readonly string[], options: CommandOptions) {
    this.#options = options
    // Before the command runs: a signal must not end us and leave it behind.
    for (const [signal, handler] of this.#handlers) process.on(signal, handler)
    this.ended = this.#run(command, args)
  }

  /** Pid of the command while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  release(): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler)
  }

  #run(command: string, args: readonly string[]): Promise<CommandEnd> {
    return new Promise((resolve) => {
      const fail = (error: NodeJS.ErrnoException): void => {
        this.#child = undefined
        resolve({ ...startProblem(command, error, this.#options.env), signal: null })
      }
      try {
        const child = spawn(command, args, { stdio: this.#options.stdio ?? 'inherit', env: this.#options.env })
        if (child.pid !== undefined) {
          this.#child = child
          this.#options.started?.(child as ChildProcess & { pid: number })
        }
        child.once('error', (error) => {
          // Also raised when a signal could not be sent; then the command runs on.
          if (child.pid === undefined) fail(error)
        })
        child.once('exit', (code, signal) => {
          this.#child = undefined
          resolve({ code: code ?? 128 + (signal ? osConstants.signals[signal] : 0), signal, problem: null })
        })
      } catch (error) {
        fail(error as NodeJS.ErrnoException)
      }
    })
  }

  #got(signal: Forwarded): void {
    if (this.#child === undefined) this.#options.late?.(signal)
    else if (this.#options.forward) this.#options.forward(signal)
    else if (!cameFromTerminal(signal)) this.#child.kill(signal)
  }
}

/**
 * Has the terminal sent this signal to the command as well? Node does not tell who sent a signal. Ctrl-C and Ctrl-\ go to
 * the whole foreground process group, and so does the end of the terminal. While we are in that group, the command, which
 * shares our group, has got the signal already, and most programs take a second one as "at once". SIGTERM never comes from a
 * terminal. So `kill -INT` of the supervisor alone does nothing while it is in the foreground of a terminal.
 */
export function cameFromTerminal(signal: Forwarded): boolean {
  if (signal === 'SIGTERM') return false
  // tty_nr, then the foreground process group of that terminal; fields 7 and 8 of proc_pid_stat(5). -1: no terminal.
  const stat = readText('/proc/self/stat')
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (!fields) return process.stdin.isTTY === true && signal !== 'SIGHUP'
  const [group, , terminal, foreground] = fields.slice(2).map(Number)
  return terminal !== 0 && foreground === group
}

/** Shells and env(1) agree on the codes: 127 not found, 126 found and not startable. */
function startProblem(
  command: string,
  error: NodeJS.ErrnoException,
  env: NodeJS.ProcessEnv,
): { code: 126 | 127; problem: string } {
  const name = JSON.stringify(command)
  if (error.code === 'ENOENT' && !inFolder()) {
    return { code: 126, problem: `cannot start ${name}: the current folder does not exist any more` }
  }
  if (error.code === 'ENOENT') {
    const found = find(command, env)
    return found === undefined
      ? { code: 127, problem: `command not found: ${name}` }
      : { code: 127, problem: `cannot start ${name}: the interpreter that ${found} names does not exist` }
  }
  if (error.code === 'EACCES') {
    return { code: 126, problem: `cannot start ${name}: it is not executable, or a folder` }
  }
  return { code: 126, problem: `cannot start ${name}: ${error.message}` }
}

function inFolder(): boolean {
  try {
    return statSync(process.cwd()).isDirectory()
  } catch {
    return false
  }
}

function find(command: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = command.includes('/') ? [''] : (env.PATH ?? '').split(delimiter)
  for (const folder of folders) {
    const path = folder === '' ? command : join(folder, command)
    try {
      accessSync(path, constants.X_OK)
      if (statSync(path).isFile()) return path
    } catch {
      // Not here.
    }
  }
  return undefined
}
