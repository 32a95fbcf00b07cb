/** What a forked worker of tests is told beside what every forked child is told. */
import type { OpenPath } from '../../../src/spawn/zygote/protocol.ts'
import type { WorkerConfig } from '../../protocol.ts'

export interface WorkerTask {
  /** Socket of the vitest main process, and the word by which it knows the one that connects. */
  channel: string
  token: string
  /** Arguments of a stock worker, and its Node flags. */
  argv: string[]
  execArgv: string[]
  /** Path of the state record, see `WorkerConfig`. */
  record: string | null
  /** Read by a thread of the child: a byte there opens its inspector. */
  wake: OpenPath
}

/** A child says who it is by its token and its pid, before anything else. */
export const greetingOf = (token: string, pid: number): string => `${token}${String(pid).padStart(PID_BYTES)}`
export const TOKEN_BYTES = 36
const PID_BYTES = 10
export const GREETING_BYTES = TOKEN_BYTES + PID_BYTES

/** With what says that a file is finished: nothing is to be done when the worker is stopped. */
export const OVER = 'harrow:over'

/** Variable with which the zygote is told what to load: {@link ZygoteFacts} as JSON. */
export const FACTS_ENV = 'HARROW_POOL_ZYGOTE'

export interface ZygoteFacts {
  /** Folder of vitest's modules. */
  vitest: string
  /** Packages that vitest's environment imports itself when it is set up. */
  environment: string[]
  /** Paths of modules in node_modules that test files import; one that fails is left out. */
  warm: string[]
  /** That of its workers, but for the state record, which each has of its own. */
  config: WorkerConfig
  /** How vitest starts a worker, as V8 writes it, in base64: a dry run is made with it; null: none is made. */
  start: string | null
}

/** A module that is not to be loaded before the fork. */
export interface Unsafe {
  path: string
  /** A part of a sentence: what its import does. */
  why: string
  /** Paths of what it imports, which may be loaded all the same. */
  instead: readonly string[]
}

const UNSAFE = 'imports with effects: '

/** With this a zygote ends that has found some; they cannot be unloaded. */
export class UnsafeImports extends Error {
  constructor(found: readonly Unsafe[]) {
    super(`${UNSAFE}${JSON.stringify(found)}`)
  }

  /** Those of which somebody else has heard. */
  static in(error: unknown): Unsafe[] {
    const message = error instanceof Error ? error.message : ''
    const line = message.split('\n').find((each) => each.includes(UNSAFE))
    return line === undefined ? [] : (JSON.parse(line.slice(line.indexOf(UNSAFE) + UNSAFE.length)) as Unsafe[])
  }
}
