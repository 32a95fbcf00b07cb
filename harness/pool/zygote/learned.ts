/** What earlier runs have shown: packages that take long to import, and files that compute for long. Kept in vite's cache folder. */
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder } from '../../../src/process/make-folder.ts'
import type { FromWorker, MARK } from '../../protocol.ts'
import type { Unsafe } from './task.ts'

/** What a worker tells at the end of a file. */
export type FileFacts = Extract<FromWorker, { [MARK]: 'learned' }>

interface Import {
  /** The longest that it took, less what has been forgotten since. */
  ms: number
  /** Runs since it was last seen. */
  unseen: number
}

interface File {
  cpuMs: number
  wallMs: number
}

/** One that cannot be loaded early, as it was at some time. */
interface LeftOut {
  why: string
  instead: readonly string[]
  /** Milliseconds since 1970. */
  changed: number
}

interface State {
  format: 1
  imports: Record<string, Import>
  /** By path. */
  leftOut?: Record<string, LeftOut>
  files: Record<string, File>
}

/** An import that takes less is not worth the memory that all children then share. */
const LEAST_MS = 5
const MOST_WARM = 20
/** With what is loaded in the place of others. */
const MOST_LOADED = 60
const MOST_UNSEEN = 10
/** Of the earlier time, in each run that measured less: a machine that was busy is forgotten. */
const KEPT = 0.7
/**
 * V8 with one thread compiles and collects on the main thread, so what computes for long is slower in a fork. From so much
 * CPU time on, at so much of the time that passed, a file is given to a child process, until it takes clearly less.
 */
const LONG_CPU_MS = 3000
const SHORT_CPU_MS = 2000
const BUSY = 0.7

export class Learned {
  readonly #path: string
  readonly #state: State
  readonly #measured = new Map<string, number>()
  readonly #stock: ReadonlySet<string>
  /** Something was told since it was written. */
  #heard = false

  /** @param path of the file, which need not be there */
  constructor(path: string) {
    this.#path = path
    this.#state = readState(path)
    this.#stock = new Set(
      Object.keys(this.#state.files).filter((file) => isLong(this.#state.files[file]!, LONG_CPU_MS)),
    )
  }

  /** Paths of modules in node_modules, the slowest first. The same for the whole of a run, but for what is left out. */
  warm(): string[] {
    const found = new Set<string>()
    for (const [path] of this.#slow()) this.#gather(path, found, new Set())
    return [...found].slice(0, MOST_LOADED)
  }

  /** What the slowest import takes; one may be part of another, so they do not add up. */
  warmMs(): number {
    return this.#slow()[0]?.[1].ms ?? 0
  }

  #slow(): [path: string, one: Import][] {
    return Object.entries(this.#state.imports)
      .filter(([path, { ms }]) => ms >= LEAST_MS && existsSync(path))
      .sort(([, a], [, b]) => b.ms - a.ms)
      .slice(0, MOST_WARM)
  }

  /** In the place of one that is left out, what it imports. */
  #gather(path: string, found: Set<string>, seen: Set<string>): void {
    if (seen.has(path)) return
    seen.add(path)
    const not = this.#state.leftOut?.[path]
    if (not === undefined || not.changed !== changed(path)) found.add(path)
    else for (const one of not.instead) this.#gather(one, found, seen)
  }

  /** They have been tried, and are not tried again before they change. */
  leaveOut(unsafe: readonly Unsafe[]): void {
    this.#heard = true
    this.#state.leftOut ??= {}
    for (const { path, why, instead } of unsafe) {
      this.#state.leftOut[path] = { why, instead, changed: changed(path) ?? 0 }
    }
  }

  /** Did this file compute for long in an earlier run? */
  isLong(file: string): boolean {
    return this.#stock.has(file)
  }

  get hasLong(): boolean {
    return this.#stock.size > 0
  }

  /** @param warm what its zygote had loaded: that took no time, and what is left out less than alone */
  add({ file, cpuMs, wallMs, imports }: FileFacts, warm: readonly string[]): void {
    this.#heard = true
    const now = { cpuMs, wallMs }
    const stays = this.#stock.has(file) && isLong(now, SHORT_CPU_MS)
    if (stays || isLong(now, LONG_CPU_MS)) this.#state.files[file] = { ...now, cpuMs: Math.max(cpuMs, LONG_CPU_MS) }
    else delete this.#state.files[file]
    for (const [path, ms] of imports) {
      const isEased = warm.includes(path) || this.#state.leftOut?.[path] !== undefined
      const known = isEased ? (this.#state.imports[path]?.ms ?? ms) : ms
      this.#measured.set(path, Math.max(known, this.#measured.get(path) ?? 0))
    }
  }

  /** Writes what this run has shown; a folder that cannot be written to means that nothing is learned. */
  save(): void {
    if (!this.#heard) return
    this.#heard = false
    const { imports } = this.#state
    for (const [path, one] of Object.entries(imports)) {
      if (!this.#measured.has(path) && ++one.unseen > MOST_UNSEEN) delete imports[path]
    }
    for (const [path, ms] of this.#measured) {
      imports[path] = { ms: Math.max(ms, (imports[path]?.ms ?? 0) * KEPT), unseen: 0 }
    }
    this.#measured.clear()
    for (const path of Object.keys(this.#state.leftOut ?? {})) {
      if (!existsSync(path)) delete this.#state.leftOut?.[path]
    }
    const own = `${this.#path}.${process.pid}`
    try {
      makeFolder(dirname(this.#path))
      writeFileSync(own, `${JSON.stringify(this.#state)}\n`)
      renameSync(own, this.#path)
    } catch {
      // The next run learns it anew.
    }
  }
}

function changed(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs
}

function isLong({ cpuMs, wallMs }: File, leastMs: number): boolean {
  return cpuMs >= leastMs && cpuMs >= BUSY * wallMs
}

function readState(path: string): State {
  try {
    const state = JSON.parse(readFileSync(path, 'utf8')) as State
    if (state.format === 1 && typeof state.imports === 'object' && typeof state.files === 'object') return state
  } catch {
    // None yet, or not ours.
  }
  return { format: 1, imports: {}, files: {} }
}
