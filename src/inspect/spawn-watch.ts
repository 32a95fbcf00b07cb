/**
 * Who starts which process: notes each start with its place in the code, and marks the child's environment, so that what
 * it leaves behind, also after a double fork, leads back to that place. Runs in the process that is watched.
 */
import childProcess from 'node:child_process'
import { syncBuiltinESMExports } from 'node:module'
import { readCallSites } from './call-sites.ts'
import type { RawFrame } from './facts.ts'

/** One start of a process. */
export interface SpawnNote {
  /** Counts the starts of this thread from 1; part of the mark in the child's environment. */
  ordinal: number
  /** Undefined for a synchronous call, whose child is gone when it returns, but may have left children of its own. */
  pid: number | undefined
  /** Program and arguments with blanks between them. */
  command: string
  /** When the call began and ended, milliseconds since the epoch. */
  from: number
  to: number
  /** Call site, innermost first. */
  created: RawFrame[]
}

export interface SpawnWatchOptions {
  /**
   * Environment variable that marks what this thread starts. A child that inherits it gets `<value>.<ordinal>`; one that
   * is started with an environment without it stays unmarked, so that the user's code sees what it asked for.
   */
  mark: { name: string; value: string }
  /** Told after each start that succeeded. What it throws is swallowed. */
  started(note: SpawnNote, child: childProcess.ChildProcess | undefined): void
}

type Callable = (this: unknown, ...args: unknown[]) => unknown

/** The undocumented argument of `ChildProcess.prototype.spawn`, through which all of child_process goes (Node 0.12 to 26). */
interface SpawnOptions {
  file?: unknown
  args?: unknown
  envPairs?: unknown
}

const MOST_FRAMES = 20
const LONGEST_COMMAND = 400
const SYNC = ['execSync', 'execFileSync', 'spawnSync'] as const

const apply = Reflect.apply
const clock = (): number => performance.timeOrigin + performance.now()

/**
 * Wraps the starts of processes in this thread: `spawn`, `exec`, `execFile`, `fork` (all through
 * `ChildProcess.prototype.spawn`) and their synchronous forms. About 15 µs a start.
 *
 * @returns puts the original functions back
 */
export function watchSpawns(options: SpawnWatchOptions): () => void {
  let ordinal = 0
  const undo: (() => void)[] = []
  const tell = (note: SpawnNote, child?: childProcess.ChildProcess): void => {
    try {
      options.started(note, child)
    } catch {
      // The start must not fail because of the note.
    }
  }

  const prototype = childProcess.ChildProcess.prototype as unknown as { spawn: Callable }
  const original = prototype.spawn
  const watched: Callable = {
    spawn(this: unknown, ...args: unknown[]): unknown {
      const child = this as childProcess.ChildProcess
      const given = args[0] as SpawnOptions | undefined
      const n = ++ordinal
      markPairs(given?.envPairs, options.mark, n)
      const from = clock()
      const result = apply(original, this, args)
      if (child.pid !== undefined) {
        const created = readCallSites(MOST_FRAMES, watched)
        tell({ ordinal: n, pid: child.pid, command: commandOf(given), from, to: clock(), created }, child)
      }
      return result
    },
  }.spawn
  if (typeof original === 'function') {
    prototype.spawn = watched
    undo.push(() => {
      if (prototype.spawn === watched) prototype.spawn = original
    })
  }

  for (const name of SYNC) wrapSync(name, options, () => ++ordinal, tell, undo)
  syncBuiltinESMExports()
  return () => {
    for (const restore of undo.splice(0).reverse()) restore()
    syncBuiltinESMExports()
  }
}

/** Synchronous calls call each other (`execSync` -> `spawnSync`): only the outermost is noted. */
let inside = false

function wrapSync(
  name: (typeof SYNC)[number],
  { mark }: SpawnWatchOptions,
  next: () => number,
  tell: (note: SpawnNote) => void,
  undo: (() => void)[],
): void {
  const owner = childProcess as unknown as Record<string, Callable>
  const original = owner[name]
  if (typeof original !== 'function') return
  const watched = {
    [name](this: unknown, ...args: unknown[]): unknown {
      if (inside) return apply(original, this, args)
      inside = true
      const n = next()
      const from = clock()
      const before = process.env[mark.name]
      // The child's environment is a copy of this one unless the call brings its own.
      if (before === mark.value) process.env[mark.name] = `${mark.value}.${n}`
      try {
        return apply(original, this, args)
      } finally {
        inside = false
        if (before === mark.value) process.env[mark.name] = before
        const created = readCallSites(MOST_FRAMES, watched)
        tell({ ordinal: n, pid: undefined, command: syncCommand(args), from, to: clock(), created })
      }
    },
  }[name] as Callable
  Object.setPrototypeOf(watched, Object.getPrototypeOf(original))
  Object.defineProperties(watched, Object.getOwnPropertyDescriptors(original))
  owner[name] = watched
  undo.push(() => {
    if (owner[name] === watched) owner[name] = original
  })
}

function markPairs(pairs: unknown, mark: SpawnWatchOptions['mark'], ordinal: number): void {
  if (!Array.isArray(pairs)) return
  const at = pairs.indexOf(`${mark.name}=${mark.value}`)
  if (at >= 0) pairs[at] = `${mark.name}=${mark.value}.${ordinal}`
}

function commandOf(given: SpawnOptions | undefined): string {
  // `args` begins with the program's name as the child sees it.
  const words = Array.isArray(given?.args) ? given.args : [given?.file]
  return cut(words.map(String).join(' '))
}

function syncCommand(args: unknown[]): string {
  const words = [args[0], ...(Array.isArray(args[1]) ? args[1] : [])]
  return cut(words.filter((word) => typeof word === 'string').join(' '))
}

function cut(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length <= LONGEST_COMMAND ? line : `${line.slice(0, LONGEST_COMMAND - 1)}…`
}
