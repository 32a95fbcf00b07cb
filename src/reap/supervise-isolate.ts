import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { identify, signalProcess } from '../process/identity.ts'
import { childrenOf } from '../process/procfs.ts'
import { Command, type CommandEnd, cameFromTerminal, type Forwarded } from './supervise-command.ts'
import type { EndBelowResult } from './supervise-subtree.ts'

/** What the first process of the namespace tells us when it ends. */
export interface InsideResult {
  end: CommandEnd
  inside: EndBelowResult
}

const PROBE_MS = 5000
const NAMESPACE = ['--pid', '--fork', '--kill-child', '--mount-proc']
const READY = 'ready'

/**
 * How unshare(1) makes a pid namespace here: as root directly, else by a user namespace, in which we stay the same user.
 * Found by trying it; about 5 ms.
 *
 * @returns its options, or why it cannot be made
 */
export function probeNamespace(): { options: string[] } | { problem: string } {
  if (process.platform !== 'linux') return { problem: `pid namespaces need Linux, this is ${process.platform}` }
  const ways = [[...NAMESPACE], ['--user', '--map-current-user', ...NAMESPACE]]
  if (process.geteuid?.() !== 0) ways.reverse()
  let problem = ''
  for (const options of ways) {
    const probe = spawnSync('unshare', [...options, 'true'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      timeout: PROBE_MS,
      killSignal: 'SIGKILL',
    })
    if (probe.status === 0) return { options }
    problem ||= explain(probe)
  }
  return { problem }
}

function explain(probe: SpawnSyncReturns<string>): string {
  const { error, stderr, status, signal } = probe
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
    return 'unshare(1) is not installed (it is part of util-linux)'
  }
  const [line = ''] = (stderr ?? '').trim().split('\n')
  const said = line || error?.message || `unshare(1) ended with ${signal ?? `code ${status}`}`
  return `${said}; this system or container does not allow it`
}

/**
 * A command in a pid namespace. Its first process is a supervisor of ours (`supervise-init`), for the first process of a
 * namespace has duties and no default signals. When that process ends, the kernel ends everybody else.
 */
export class IsolatedCommand {
  readonly ended: Promise<InsideResult>
  readonly #command: Command
  #ready = false
  #waiting: Forwarded[] = []
  #said = ''
  #pipeEnd: Promise<void> = Promise.resolve()

  constructor(
    unshareOptions: readonly string[],
    command: string,
    args: readonly string[],
    options: { env: NodeJS.ProcessEnv; graceMs: number; late(signal: Forwarded): void },
  ) {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const inside = fileURLToPath(new URL(`./supervise-init${extension}`, import.meta.url))
    const wrapped = [...unshareOptions, '--', process.execPath, ...process.execArgv, inside]
    this.#command = new Command('unshare', [...wrapped, String(options.graceMs), command, ...args], {
      env: options.env,
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      started: (child) => this.#listen(child.stdio[3] as Socket),
      forward: (signal) => {
        if (cameFromTerminal(signal)) return
        // Before it has its handlers, signals to the first process of a namespace are lost.
        if (this.#ready) this.#send(signal)
        else this.#waiting.push(signal)
      },
      late: options.late,
    })
    this.ended = this.#command.ended.then((end) => this.#result(end))
  }

  release(): void {
    this.#command.release()
  }

  get pid(): number | undefined {
    return this.#command.pid
  }

  #listen(pipe: Socket): void {
    pipe.setEncoding('utf8')
    pipe.on('error', () => {})
    pipe.on('data', (text: string) => {
      this.#said += text
      if (this.#ready || !this.#said.includes(`${READY}\n`)) return
      this.#ready = true
      for (const signal of this.#waiting) this.#send(signal)
    })
    this.#pipeEnd = new Promise((resolve) => pipe.once('close', () => resolve()))
  }

  #send(signal: Forwarded): void {
    const unshare = this.#command.pid
    const [first] = unshare === undefined ? [] : childrenOf(unshare)
    const id = first === undefined ? undefined : identify(first)
    if (id) signalProcess(id, signal)
  }

  async #result(end: CommandEnd): Promise<InsideResult> {
    await this.#pipeEnd
    const [, last = ''] = this.#said.split(`${READY}\n`)
    try {
      return JSON.parse(last) as InsideResult
    } catch {
      // The first process was killed before it could tell anything; the kernel has ended the rest.
      return { end, inside: { ended: [], left: [], kept: [] } }
    }
  }
}

/** Lines by which the first process of the namespace speaks to {@link IsolatedCommand}, over descriptor 3. */
export const insideReady = `${READY}\n`
