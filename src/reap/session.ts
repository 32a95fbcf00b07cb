/**
 * The session of this main process: the marks by which processes that it started, directly or not, are known to be its
 * own, while it lives (samples, adoption) and after it was killed (sidecar, files).
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { identify, type ProcessIdentity } from '../process/identity.ts'
import { isNative, loadNative, type Native } from '../process/native.ts'
import { TICKS_PER_SECOND, uptimeMs } from '../process/procfs.ts'
import { Kin } from './kin.ts'
import type { MemberQuery } from './members.ts'
import { type Sidecar, startSidecar } from './sidecar.ts'
import {
  currentBoot,
  host,
  isSessionId,
  listSessions,
  makeSessionFolder,
  POLITE_MS,
  pidNamespace,
  registryLine,
  removeSession,
  type SessionState,
  sessionPath,
  sidecarsOf,
  writeState,
} from './state.ts'
import { execAncestor, type Strength } from './strength.ts'

export interface SessionOptions {
  /** Letters, digits, `_`, `-` and `.`; at most 64. Used once. */
  id: string
  kind: SessionState['kind']
  /** For people: what runs. */
  label: string
  /** Root folder of the project. */
  root: string
  /** Variable, and its value, that the processes are started with. */
  tag: { name: string; value: string }
  /** Folder of the session files; default: `$XDG_STATE_HOME/harrow/sessions`. */
  stateDir?: string
  /** Time between SIGTERM and force when this process is killed, milliseconds. Default 1000. */
  politeMs?: number
  /** Told of processes that a look finds for the first time. */
  found?(fresh: readonly ProcessIdentity[]): void
}

const SAMPLE_MS = 50
const MOST_RESTARTS = 3

/** Sessions for whose sake this process adopts orphans; with the last one that ends, unless it did so before. */
let adopting = 0

export class Session {
  readonly id: string
  readonly strength: Strength
  /** Why the strength is no higher, half a sentence; null when it need not be. */
  readonly missing: string | null
  /** What could not be done, in sentences for the run header. */
  readonly notes: string[] = []
  /** Pids of children that Node waits for, beside those that it is seen to start; they are never collected here. */
  readonly ownChildren = new Set<number>()

  readonly #options: SessionOptions
  readonly #since: number
  readonly #native: Native | undefined
  readonly #kin: Kin
  readonly #leaseFd: number | undefined
  /** Adopts orphans for the sake of this session. */
  readonly #adopts: boolean
  readonly #sidecars = new Set<number>()
  #state: SessionState | undefined
  #sidecar: Sidecar | undefined
  #registry: number | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /**
   * Starts the sidecar, makes the lease and makes this process adopt orphans, in this order, so that the sidecar has no
   * lease. Synchronous, 5 to 10 ms, and never throws: what fails stands in `notes`, and `strength` says what is left.
   */
  static open(options: SessionOptions): Session {
    return new Session(options)
  }

  private constructor(options: SessionOptions) {
    this.#options = options
    this.id = options.id
    this.#since = Math.floor(((uptimeMs() ?? 0) * TICKS_PER_SECOND) / 1000)
    const folder = this.#openFolder()
    if (folder !== undefined) this.#startSidecar(folder)

    const layer = loadNative()
    this.#native = isNative(layer) ? layer : undefined
    this.#kin = new Kin(this.#native, this.ownChildren)
    this.#leaseFd = isSessionId(this.id) ? this.#native?.makeLease(this.id) : undefined
    const did = adopting === 0 && this.#native?.isSubreaper() === true
    const adopts = did || (this.#native?.becomeSubreaper() ?? false)
    this.#adopts = adopts && !did
    if (this.#adopts) adopting++

    const strong = this.#leaseFd !== undefined && adopts
    const exact = options.kind === 'vitest' && execAncestor(options.stateDir) !== undefined
    this.strength = exact ? 'exact' : strong ? 'strong' : 'basic'
    if (exact || strong) this.missing = null
    else if (!isNative(layer)) this.missing = layer.missing
    else if (adopts) this.missing = 'the limit of open files (ulimit -n) is below 901'
    else this.missing = 'the kernel does not let this process adopt orphans'
    if (folder !== undefined) this.#writeState(folder)
  }

  /** All proofs in force, for finding and ending what belongs to this session. */
  get query(): MemberQuery {
    const own = this.#sidecar ? [this.#sidecar.id] : []
    return {
      tag: this.#options.tag,
      since: this.#since,
      also: this.#kin.known(),
      spare: [...own, ...(this.#state ? sidecarsOf(listSessions(this.#state.folder)) : [])],
      ...(this.#leaseFd !== undefined && { lease: this.id, leaseFd: this.#leaseFd }),
    }
  }

  /** The sidecar's process while there is one. */
  get sidecar(): ProcessIdentity | undefined {
    return this.#sidecar?.id
  }

  /** A process is known to be ours: remembered here, and for whoever comes after us. */
  record(id: ProcessIdentity): void {
    if (!this.#closed && this.#kin.add(id)) this.#append([id])
  }

  /**
   * One look at all descendants of this process: those that are new are recorded and returned. Adopted ones that are dead
   * are collected, if nobody else can be waiting for them. 0.1 ms plus 0.05 ms per descendant; nothing off Linux.
   */
  sample(): ProcessIdentity[] {
    return this.#look().fresh
  }

  /** Samples now, and every 50 ms as long as there is any descendant. Cheap to call: after each start of a process. */
  watch(): void {
    if (this.#closed || !this.#look().busy || this.#timer) return
    this.#timer = setInterval(() => {
      if (!this.#look().busy) this.#stopWatching()
    }, SAMPLE_MS)
    this.#timer.unref()
  }

  /** A child that this thread itself has started, or that was there before the session: no orphan that came to us. */
  isOwnChild(pid: number): boolean {
    return this.#kin.isNodes(pid)
  }

  /** A folder that is to be removed with the session, also when this process is killed; see `removeTemp`. */
  ownTemp(path: string): void {
    if (!this.#state || this.#closed) return
    this.#state = { ...this.#state, temp: path }
    this.#save()
  }

  /**
   * Ends the session; a second call does nothing.
   *
   * @param clean nothing is left: the sidecar is let go, the files are removed. Otherwise all stays in place, and the
   * sidecar ends what is left as soon as this process has ended.
   */
  close(clean: boolean): void {
    if (this.#closed) return
    if (!clean) this.sample()
    this.#closed = true
    this.#stopWatching()
    this.#kin.close()
    if (clean) this.#sidecar?.bye()
    if (clean && this.#state) removeSession(this.#state)
    for (const fd of [this.#registry, this.#leaseFd]) if (fd !== undefined) closeQuietly(fd)
    if (this.#adopts && --adopting === 0) this.#native?.becomeSubreaper(false)
  }

  #look(): { fresh: ProcessIdentity[]; busy: boolean } {
    if (this.#closed) return { fresh: [], busy: false }
    const found = this.#kin.look(this.#sidecars)
    this.#append(found.fresh)
    if (found.fresh.length > 0) this.#options.found?.(found.fresh)
    return found
  }

  #stopWatching(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #openFolder(): string | undefined {
    if (!isSessionId(this.id) || !isSessionId(this.#options.tag.value)) {
      this.notes.push(`no session file: ${JSON.stringify(this.id)} or its tag cannot be the name of a session`)
      return undefined
    }
    try {
      const folder = makeSessionFolder(this.#options.stateDir)
      this.#registry = openSync(sessionPath(folder, this.id, 'pids'), 'a', 0o600)
      return folder
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.notes.push(`no session file: ${reason}; what this run leaves is not found if it is killed`)
      return undefined
    }
  }

  #startSidecar(folder: string): void {
    this.#sidecar = startSidecar(sessionPath(folder, this.id, 'json'), () => this.#sidecarDied())
    if (this.#sidecar) this.#sidecars.add(this.#sidecar.id.pid)
    else this.notes.push('no sidecar could be started: what this run leaves if it is killed stays until the next run')
  }

  #sidecarDied(): void {
    this.#sidecar = undefined
    if (this.#closed || !this.#state) return
    if (this.#sidecars.size <= MOST_RESTARTS) this.#startSidecar(this.#state.folder)
    else
      this.notes.push(
        'the sidecar was ended again and again: what this run leaves if it is killed stays until the next',
      )
    this.#state = { ...this.#state, sidecar: this.#sidecarEntry() }
    this.#save()
  }

  #sidecarEntry(): SessionState['sidecar'] {
    return this.#sidecar ? { pid: this.#sidecar.id.pid, start: this.#sidecar.id.start } : null
  }

  #writeState(folder: string): void {
    const main = identify(process.pid)
    if (!main) {
      this.notes.push('no session file: the start time of this process cannot be read')
      return
    }
    const { id, kind, label, root, tag, politeMs = POLITE_MS } = this.#options
    this.#state = {
      format: 1,
      ...{ id, kind, label, root, folder },
      bootId: currentBoot(),
      host: host(),
      pidNamespace: pidNamespace(),
      main: { pid: main.pid, start: main.start },
      sidecar: this.#sidecarEntry(),
      strength: this.strength,
      tag: { name: tag.name, value: tag.value },
      leaseFd: this.#leaseFd ?? null,
      since: this.#since,
      startedAt: Date.now(),
      politeMs,
      temp: null,
    }
    this.#save()
  }

  #save(): void {
    try {
      if (this.#state) writeState(this.#state)
    } catch (error) {
      this.notes.push(`the session file was not written: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** Written at once: a line that waits in memory is lost when this process is killed. */
  #append(ids: ProcessIdentity[]): void {
    if (ids.length === 0 || this.#registry === undefined) return
    try {
      writeSync(this.#registry, ids.map(registryLine).join(''))
    } catch {
      // A full disk: the other proofs remain.
      closeQuietly(this.#registry)
      this.#registry = undefined
    }
  }
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    // Somebody else closed it.
  }
}
