/** The folder of temporary files of a run: made with the name of its owner inside, and removed when the owner is dead. */
import { lstatSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { identify, isRunning, type ProcessIdentity } from '../process/identity.ts'
import type { Swept } from './files.ts'
import { entriesOf } from './same-file.ts'
import { pidNamespace, writeWhole } from './state.ts'

/** File inside a temp root that tells whose it is. */
export const OWNER_FILE = 'owner.json'

/** A folder whose owner file was never written can only be told by its age, milliseconds. */
const UNOWNED_MS = 60_000
const LARGEST_OWNER_FILE = 4096
const NAME = /^harrow-(.+)-[A-Za-z0-9]{6}$/
/** Without an owner file, only the name tells that a folder is ours: the id must look like one. */
const RUN_ID = /^[0-9a-f]{8}[0-9a-f-]*$/

/** Whose a temp root is. */
export interface TempOwner extends ProcessIdentity {
  /** Id of the run. */
  id: string
  /** Pid namespace that `pid` belongs to: from another one the process cannot be seen. Null off Linux. */
  pidNamespace: string | null
}

/** A temp root that was found. */
export interface TempRoot {
  path: string
  id: string
  owner: TempOwner | null
  /** `unknown`: no owner file, or an owner that cannot be seen from here. */
  state: 'alive' | 'dead' | 'unknown'
}

/**
 * Makes the temp root of a run, `<tmpdir>/harrow-<id>-XXXXXX` (0700), owned by this process.
 *
 * @param id id of the run
 * @returns its path
 * @throws what the file system says
 */
export function makeTempRoot(id: string): string {
  const folder = mkdtempSync(join(tmpdir(), `harrow-${id}-`))
  const self = identify(process.pid)
  const owner: TempOwner | null = self === undefined ? null : { ...self, id, pidNamespace: pidNamespace() }
  writeWhole(join(folder, OWNER_FILE), owner)
  return folder
}

/**
 * Removes a temp root with all that is in it. For the owner, or for who knows that the owner is dead.
 *
 * @param path a folder as {@link makeTempRoot} makes it; anything else is left alone
 * @returns true when it is gone; never throws
 */
export function removeTempRoot(path: string): boolean {
  if (!isTempRoot(path)) return false
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 2 })
    return true
  } catch {
    return false
  }
}

/** Is this, by its place, its name, its kind and its user, a temp root that we may remove? */
function isTempRoot(path: string): boolean {
  try {
    if (!NAME.test(basename(path)) || realpathSync(dirname(path)) !== realpathSync(tmpdir())) return false
    const stat = lstatSync(path)
    return stat.isDirectory() && (process.getuid === undefined || stat.uid === process.getuid())
  } catch {
    return false
  }
}

/** All temp roots of our own user. Never throws. */
export function listTempRoots(): TempRoot[] {
  return entriesOf(tmpdir()).flatMap((name): TempRoot[] => {
    const path = join(tmpdir(), name)
    const id = NAME.exec(name)?.[1]
    if (id === undefined || !isTempRoot(path)) return []
    const owner = readOwnerFile(path)
    if (owner === undefined) return RUN_ID.test(id) ? [{ path, id, owner: null, state: 'unknown' }] : []
    const visible = owner.pidNamespace === pidNamespace()
    return [{ path, id: owner.id, owner, state: visible ? (isRunning(owner) ? 'alive' : 'dead') : 'unknown' }]
  })
}

/**
 * Removes the temp roots of dead runs, and empty ones without an owner that are older than a minute.
 *
 * @param options.dryRun only say what would be removed
 * @param options.runs only those of these runs
 * @param options.keep those of these runs are kept, e.g. because processes of theirs still live
 * @returns what was (or would be) removed, and what was found and kept; those of living runs are not mentioned
 */
export function sweepTemp(
  options: { dryRun?: boolean; runs?: ReadonlySet<string>; keep?: ReadonlySet<string> } = {},
): Swept {
  const swept: Swept = { removed: [], kept: [] }
  for (const { path, id, owner, state } of listTempRoots()) {
    if (state === 'alive' || (options.runs && !options.runs.has(id))) continue
    if (options.keep?.has(id)) {
      swept.kept.push({ path, reason: 'processes of its run still live' })
    } else if (owner === null) {
      sweepUnowned(path, options.dryRun, swept)
    } else if (state === 'unknown') {
      swept.kept.push({ path, reason: 'its owner belongs to another pid namespace and cannot be seen' })
    } else if (options.dryRun || removeTempRoot(path)) {
      swept.removed.push({ path, reason: `its owner, process ${owner.pid}, is gone` })
    } else {
      swept.kept.push({ path, reason: 'it could not be removed' })
    }
  }
  return swept
}

/** Its owner died before it could write its name, or writes it just now. */
function sweepUnowned(path: string, dryRun: boolean | undefined, swept: Swept): void {
  try {
    const young = Date.now() - lstatSync(path).mtimeMs < UNOWNED_MS
    if (young || readdirSync(path).length > 0) {
      if (!young) swept.kept.push({ path, reason: `it has no ${OWNER_FILE} that tells its owner` })
      return
    }
    // Not recursive: what was put there meanwhile is kept.
    if (!dryRun) rmdirSync(path)
    swept.removed.push({ path, reason: 'it is empty and nobody owns it' })
  } catch {
    // Gone, or in use after all.
  }
}

function readOwnerFile(folder: string): TempOwner | undefined {
  try {
    const path = join(folder, OWNER_FILE)
    const stat = lstatSync(path)
    if (!stat.isFile() || stat.size > LARGEST_OWNER_FILE) return undefined
    const { bootId, pid, start, id, pidNamespace } = (JSON.parse(readFileSync(path, 'utf8')) ??
      {}) as Partial<TempOwner>
    if (typeof bootId !== 'string' || !Number.isSafeInteger(pid) || typeof start !== 'number') return undefined
    if (typeof id !== 'string' || !basename(folder).startsWith(`harrow-${id}-`)) return undefined
    return {
      bootId,
      pid: pid as number,
      start,
      id,
      pidNamespace: typeof pidNamespace === 'string' ? pidNamespace : null,
    }
  } catch {
    return undefined
  }
}
