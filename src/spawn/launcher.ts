/** How the program of an actor that is a process is started: as it is, or by a launcher that guards it. */
import { accessSync, constants, readFileSync, realpathSync } from 'node:fs'
import { basename } from 'node:path'

/** Mark of an actor that lives on without its parent. */
const STAY = '--harrow-stay'

export interface Launch {
  file: string
  /** Before those of the program. */
  args: string[]
  /** For the program, behind its own. */
  marks: string[]
}

/**
 * With the option `guard: 'start'` the kernel ends the process with its parent from its first instruction on (PR_SET_PDEATHSIG):
 * `setpriv` of util-linux sets that and becomes the program. Without, the child does it itself after some time, which comes too
 * late for one that is stopped before, or blocked by a module that it imports; what either costs: DESIGN.md section 8.
 */
export function launch(options: Readonly<Record<string, unknown>>): Launch {
  const program = (options.execPath as string | undefined) ?? process.execPath
  if (options.onParentLost === 'stay') return { file: program, args: [], marks: [STAY] }
  const setpriv = options.guard === 'start' ? findSetpriv() : undefined
  // A program that cannot be started is to be told as such, by its own name.
  if (setpriv === undefined || !canRun(program)) return { file: program, args: [], marks: [] }
  const marks = [`--harrow-guarded=${process.pid}`]
  return { file: setpriv, args: ['--pdeathsig', 'KILL', '--', program], marks }
}

/** Of the option `guard`; see {@link launch}. */
export function isGuard(value: unknown): string | undefined {
  if (value === 'late' || (value === 'start' && findSetpriv() !== undefined)) return undefined
  return "'late', or 'start' where there is a setpriv of util-linux 2.33 or later"
}

let known: string | null | undefined

function findSetpriv(): string | undefined {
  if (process.platform !== 'linux') return undefined
  known ??= ['/usr/bin/setpriv', '/bin/setpriv'].find(knowsHow) ?? null
  return known ?? undefined
}

/** That of busybox, and that of util-linux before 2.33, has no such option: its name stands in the program. */
function knowsHow(path: string): boolean {
  try {
    return basename(realpathSync(path)) === 'setpriv' && canRun(path) && readFileSync(path).includes('pdeathsig')
  } catch {
    return false
  }
}

function canRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
