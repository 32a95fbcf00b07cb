/** Programs of the fixtures that run a tree of their own, seen from outside. */
import { type ChildProcess, spawn } from 'node:child_process'
import { eventually, inFolder } from './world.ts'

const program = (name: string): string => new URL(`../fixtures/actors/programs/${name}.ts`, import.meta.url).pathname

/** A program of the fixtures that runs a tree of its own. */
export class Program {
  readonly child: ChildProcess
  out = ''
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>

  constructor(name: string, args: string[], env: Record<string, string> = {}) {
    const { HARROW_BACKEND: _, ...rest } = process.env
    this.child = spawn(process.execPath, [program(name), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...rest, ...env },
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.out += text
      })
    }
    this.exit = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve({ code, signal })))
  }

  /** Waits for a line `NAME=value`, and gives the value. */
  async mark(name: string): Promise<string> {
    const found = (): string | undefined => new RegExp(`^${name}=(.*)$`, 'm').exec(this.out)?.[1]
    await eventually(`${name} in ${this.out}`, found)
    return found() as string
  }
}

/** Runs it, and ends it after `body`, which gets its registry's folder as well. */
export async function withProgram<T>(
  name: string,
  args: string[],
  body: (program: Program, folder: string) => Promise<T>,
  env: Record<string, string> = {},
): Promise<T> {
  return await inFolder(async (folder) => {
    const program = new Program(name, [`unix:${folder}/r.sock`, ...args], env)
    try {
      return await body(program, folder)
    } finally {
      if (program.child.exitCode === null && program.child.signalCode === null) program.child.kill('SIGKILL')
      await program.exit
    }
  })
}
