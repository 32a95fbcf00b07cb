import { randomUUID } from 'node:crypto'
import { identityKey, type ProcessIdentity } from '../process/identity.ts'
import { isNative, loadNative } from '../process/native.ts'
import { available, childrenOf } from '../process/procfs.ts'
import { endMembers } from './end.ts'
import { findMembers, identifyAll, type Spared } from './members.ts'
import { Session } from './session.ts'
import { listSessions, sidecarsOf } from './state.ts'
import { EXEC_ENV } from './strength.ts'
import { Command, type CommandEnd } from './supervise-command.ts'
import { IsolatedCommand, probeNamespace } from './supervise-isolate.ts'
import { ageOf, type EndBelowResult, type EndedBelow, Subtree } from './supervise-subtree.ts'

/** Time between SIGTERM and force for what a command left, milliseconds, where nothing else is said. */
export const EXEC_GRACE_MS = 1000

/** Sidecars of runs below us end by themselves when they find nothing to do; starting Node takes most of that. */
const INNER_SIDECARS_MS = 3000

/**
 * `exact`: nothing that the command starts can leave our sight. `basic`: found by marks and by looking now and then; a
 * process that drops its marks between two looks is missed.
 */
export type SuperviseStrength = 'exact' | 'basic'

export interface SuperviseOptions {
  /** Time between SIGTERM and force for what the command left, milliseconds. Default 1000. */
  graceMs?: number
  /** Runs the command in a pid namespace of its own, which the kernel empties. Default false. */
  isolate?: boolean
  /** For people, in the session file: keep secrets out of it. Default: the command without its arguments. */
  label?: string
  /** Environment of the command. Default: ours. */
  env?: NodeJS.ProcessEnv
  /** Folder of the session files. Default: that of the user. */
  stateDir?: string
  /** Called before the command starts. `missing` says why the strength is not `exact`, in half a sentence. */
  onStart?(strength: SuperviseStrength, missing: string | null): void
}

export interface SuperviseResult extends CommandEnd {
  strength: SuperviseStrength
  /** Processes that the command had left behind and that were ended. */
  ended: EndedBelow[]
  /** Those that still run; deliberate daemons (`HARROW_SESSION=keep`) are in {@link kept}. */
  left: Spared[]
  kept: Spared[]
}

/**
 * Runs a command with our stdio, passes signals on to it, and ends everything that it leaves behind: SIGTERM, a bounded
 * wait, SIGSTOP until nobody new turns up, SIGKILL. This process is the ancestor of all of it and, where the native layer
 * works, the one that orphans fall to, so that double forks, sessions of their own, emptied environments and closed
 * descriptors hide nothing. A sidecar does the same, with the proofs of a session, when this process is killed.
 *
 * Only for a process that has no other children than these: what was below it before the call is left alone.
 *
 * @param command name or path, as for spawn(2); no shell
 * @returns when the command has ended and the rest is gone, or could not be ended within about 5 s after the grace
 * @throws IsolationError when `isolate` is asked for and the system does not allow it
 */
export async function supervise(
  command: string,
  args: readonly string[],
  options: SuperviseOptions = {},
): Promise<SuperviseResult> {
  const { graceMs = EXEC_GRACE_MS, env = process.env, stateDir } = options
  const namespace = options.isolate ? probeNamespace() : undefined
  if (namespace && 'problem' in namespace) throw new IsolationError(namespace.problem)

  const before = new Set(identifyAll(childrenOf(process.pid)).map(identityKey))
  const layer = loadNative()
  const id = randomUUID().slice(0, 13)
  const session = Session.open({
    id,
    kind: 'exec',
    label: options.label ?? command,
    root: process.cwd(),
    tag: { name: EXEC_ENV, value: id },
    stateDir,
    politeMs: graceMs,
  })
  try {
    const adopts = isNative(layer) && available() && layer.becomeSubreaper()
    const strength = adopts || namespace ? 'exact' : 'basic'
    const missing = isNative(layer) ? 'the system does not let harrow adopt orphans' : layer.missing
    options.onStart?.(strength, strength === 'exact' ? null : missing)

    const hurry = new AbortController()
    const running = start(command, args, {
      env: { ...env, [EXEC_ENV]: id },
      graceMs,
      late: () => hurry.abort(),
      namespace: namespace?.options,
    })
    let inner = new Set<string>()
    const isNodes = (one: ProcessIdentity): boolean =>
      one.pid === running.pid || before.has(identityKey(one)) || isSame(one, session.sidecar)
    const collect = (pid: number): boolean => isNative(layer) && layer.collect(pid)
    const subtree = new Subtree({ untouched: (one) => isNodes(one) || inner.has(identityKey(one)), collect })
    const collectDead = () => void subtree.collectDead()
    try {
      if (running.pid !== undefined) session.ownChildren.add(running.pid)
      if (adopts) process.on('SIGCHLD', collectDead)
      session.watch()
      const { end, inside } = await running.ended
      inner = new Set(sidecarsOf(listSessions(stateDir)).map(identityKey))
      const rest = adopts ? await subtree.end({ graceMs, hurry: hurry.signal }) : await endByMarks(session, graceMs)
      if (adopts) await endInnerSidecars(new Subtree({ untouched: isNodes, collect }))
      return {
        ...end,
        strength,
        ended: [...inside.ended, ...rest.ended],
        left: [...inside.left, ...rest.left],
        kept: [...inside.kept, ...rest.kept],
      }
    } finally {
      process.off('SIGCHLD', collectDead)
      running.release()
    }
  } finally {
    session.close(true)
  }
}

/** A pid namespace was asked for and cannot be had here. */
export class IsolationError extends Error {}

interface Running {
  readonly pid: number | undefined
  readonly ended: Promise<{ end: CommandEnd; inside: EndBelowResult }>
  release(): void
}

function start(
  command: string,
  args: readonly string[],
  options: { env: NodeJS.ProcessEnv; graceMs: number; late(): void; namespace: string[] | undefined },
): Running {
  const { namespace, ...rest } = options
  if (namespace) return new IsolatedCommand(namespace, command, args, rest)
  const running = new Command(command, args, rest)
  return {
    get pid() {
      return running.pid
    },
    ended: running.ended.then((end) => ({ end, inside: { ended: [], left: [], kept: [] } })),
    release: () => running.release(),
  }
}

function isSame(one: ProcessIdentity, other: ProcessIdentity | undefined): boolean {
  return other !== undefined && identityKey(one) === identityKey(other)
}

/** Where orphans do not come to us: marks, lease, what was seen below us, and descent from all of these. */
async function endByMarks(session: Session, graceMs: number): Promise<EndBelowResult> {
  session.sample()
  const { query } = session
  const { members } = findMembers(query)
  const ages = new Map(members.map((member) => [member.pid, ageOf(member)]))
  const { ended, left } = await endMembers(members, { politeMs: graceMs, query })
  return {
    ended: ended.map((one) => ({ ...one, ageMs: ages.get(one.pid) ?? null })),
    left: left.filter((one) => !one.reason.startsWith('is marked')),
    kept: left.filter((one) => one.reason.startsWith('is marked')),
  }
}

async function endInnerSidecars(subtree: Subtree): Promise<void> {
  if (!(await subtree.untilGone(INNER_SIDECARS_MS))) await subtree.end({ graceMs: 0 })
}
