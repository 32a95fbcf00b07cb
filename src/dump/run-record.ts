import { dirname } from 'node:path'
import type { Confidence, Site } from '../errors.ts'
import { makeFolder } from '../process/make-folder.ts'
import { writeProblem, writeWhole } from './write-file.ts'

/** One hang of a run. Paths are relative to vitest's root. */
export interface HangEntry {
  file: string
  /** Titles from the outermost suite to the test; null when no test was running. */
  test: string[] | null
  /** Name of the vitest project, where there are several. */
  project?: string
  hook: string | null
  phase: string
  class: string
  confidence: Confidence
  diagnosis: string
  culprit?: Site
  holder?: Site
  waitedMs: number
  /** Path of the dump's JSON form; null when it could not be written. */
  dump: string | null
}

/** A handle that outlived its test. */
export interface LeakEntry {
  file: string
  /** Null for a hook of a suite, the top level of a file, or tests that ran at once and could not be told apart. */
  test: string[] | null
  /** The hook that made it. */
  hook?: string
  /** The tests that it can have been, when they ran at once. */
  among?: string[][]
  class: string
  kind: string
  created?: Site
  count: number
  diagnosis: string
}

/** What moved while a test ran: a count that did not move is absent. */
export interface DeltaEntry {
  file: string
  test: string[]
  descriptors?: number
  /** Child processes of the worker. */
  children?: number
  /** Listeners on `process`. */
  listeners?: number
  /** Growth of the heap in use, garbage included; from 8 MiB. */
  heapBytes?: number
}

/** A process that outlived its test or its run. */
export interface OrphanEntry {
  file: string
  test: string[] | null
  /** The hook that started it. */
  hook?: string
  class: string
  pid: number
  command: string
  /** Age when it was found. */
  ageMs?: number
  /** The line that started it, or the process that led to it. */
  created?: Site
  /** What was done: a signal, or `none`. */
  action: string
  diagnosis: string
}

/** The content of `.harrow/run.json`: a public contract. */
export interface RunRecordFile {
  format: 1
  run: string
  /** ISO 8601. */
  startedAt: string
  /** Null while the run goes on. */
  endedAt: string | null
  backend: string
  strength: string
  hangs: HangEntry[]
  leaks: LeakEntry[]
  orphans: OrphanEntry[]
  /** The 100 tests that moved most, the worst first. */
  deltas: DeltaEntry[]
}

export interface RunRecordOptions {
  run: string
  backend: string
  /** How sure orphans are found: `exact`, `strong` or `basic`. */
  strength: string
  /** @default now */
  startedAt?: Date
}

const MOST_DELTAS = 100

function worst(deltas: readonly DeltaEntry[]): DeltaEntry[] {
  const weight = ({ descriptors = 0, children = 0, listeners = 0, heapBytes = 0 }: DeltaEntry): number =>
    descriptors + children + listeners + heapBytes / (1 << 24)
  return deltas.toSorted((a, b) => weight(b) - weight(a)).slice(0, MOST_DELTAS)
}

/** Collects what a run found and writes it. */
export class RunRecord {
  readonly #options: RunRecordOptions
  readonly #hangs: HangEntry[] = []
  readonly #leaks: LeakEntry[] = []
  readonly #orphans: OrphanEntry[] = []
  #deltas: DeltaEntry[] = []
  #startedAt: Date
  #endedAt: Date | null = null

  constructor(options: RunRecordOptions) {
    this.#options = options
    this.#startedAt = options.startedAt ?? new Date()
  }

  addHang(entry: HangEntry): void {
    this.#hangs.push(entry)
  }

  addLeak(entry: LeakEntry): void {
    this.#leaks.push(entry)
  }

  addOrphan(entry: OrphanEntry): void {
    this.#orphans.push(entry)
  }

  addDelta(entry: DeltaEntry): void {
    this.#deltas.push(entry)
    if (this.#deltas.length > 10 * MOST_DELTAS) this.#deltas = worst(this.#deltas)
  }

  /** Forgets everything: the next run of watch mode begins. */
  restart(startedAt = new Date()): void {
    for (const list of [this.#hangs, this.#leaks, this.#orphans, this.#deltas]) list.length = 0
    this.#startedAt = startedAt
    this.#endedAt = null
  }

  /** The run is over. Not calling it leaves `endedAt` at the time of the last {@link writeSync}. */
  end(at = new Date()): void {
    this.#endedAt = at
  }

  /** The run was broken off: its end is now, unless it had ended. */
  interrupted(at = new Date()): void {
    this.#endedAt ??= at
  }

  toJSON(): RunRecordFile {
    const { run, backend, strength } = this.#options
    return {
      format: 1,
      run,
      startedAt: this.#startedAt.toISOString(),
      endedAt: this.#endedAt?.toISOString() ?? null,
      backend,
      strength,
      hangs: [...this.#hangs],
      leaks: [...this.#leaks],
      orphans: [...this.#orphans],
      deltas: worst(this.#deltas),
    }
  }

  /**
   * Writes the record over the one that is there, whole or not at all (mode 0600; missing folders are made with 0700).
   * May be called any number of times, also from an exit handler. Never throws.
   *
   * @returns undefined, or one sentence that says why it could not be written
   */
  writeSync(path: string): string | undefined {
    try {
      makeFolder(dirname(path), 0o700)
      const record = this.toJSON()
      // The contract has an end in every file; a later write corrects it.
      record.endedAt ??= new Date().toISOString()
      writeWhole(path, `${JSON.stringify(record, null, 2)}\n`)
      return undefined
    } catch (error) {
      return writeProblem('the run record', path, error)
    }
  }
}
