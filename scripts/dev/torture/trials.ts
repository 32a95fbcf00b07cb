/** The trials: one run each, killed in one way or another, and then counted. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { recoverSessions } from '../../../src/reap/recover.ts'
import { listSessions } from '../../../src/reap/state.ts'
import type { Suite, Tree } from './suite.ts'
import { endMarked, type Marked, marked, send, until } from './truth.ts'

/** What one trial came to. */
export interface Trial {
  /** Processes of the tree when the kill came. */
  members: number
  /** Processes that were there when all should have been gone. */
  survivors: Marked[]
  /** From the kill until the last one was gone, milliseconds; null when it never was. */
  cleanMs: number | null
  /** What else was not as it should be. */
  complaint: string | null
}

export type TrialKind = (suite: Suite) => Promise<Trial>

/** A loaded machine takes its time to start vitest. */
const START_MS = 120_000
/** The longest time until nobody may be left: 1 s of grace, the start of Node, and patience for a busy machine. */
const CLEAN_MS = 60_000
/** A sidecar removes the files right after the processes. */
const FILES_MS = 10_000
const LATEST_KILL_MS = 900

/** The main process of vitest is killed at a random moment after the tree began; the sidecar does the rest. */
export function killMain(tree: Tree): TrialKind {
  return (suite) =>
    trial(suite, { tree }, async ({ child, mark }) => {
      await sleep(Math.random() * LATEST_KILL_MS)
      return counted(mark, () => child.kill('SIGKILL'))
    })
}

/** The main process of vitest is killed below `harrow exec`, which must end with the code of a killed command. */
export function killMainBelowExec(tree: Tree): TrialKind {
  return (suite) =>
    trial(suite, { tree, exec: true }, async ({ child, mark }) => {
      await sleep(Math.random() * LATEST_KILL_MS)
      const main = marked(mark).find((one) => one.ppid === child.pid && !one.sidecar)
      if (!main) throw new Error('no vitest below harrow exec')
      const result = await counted(mark, () => send(main.pid, 'SIGKILL'))
      if (child.exitCode !== 137) result.complaint ??= `harrow exec ended with ${child.exitCode ?? child.signalCode}`
      return result
    })
}

/** `harrow exec` itself is killed: its sidecar ends the command and the tree. */
export function killSupervisor(tree: Tree): TrialKind {
  return (suite) =>
    trial(suite, { tree, exec: true }, async ({ child, mark }) => {
      await sleep(Math.random() * LATEST_KILL_MS)
      return counted(mark, () => child.kill('SIGKILL'))
    })
}

/** The sidecar is killed together with the main process; nobody is left who could clean, until the next run starts. */
export function killSidecarToo(tree: Tree): TrialKind {
  return (suite) =>
    trial(suite, { tree }, async ({ child, mark }) => {
      await sleep(Math.random() * LATEST_KILL_MS)
      const session = listSessions(suite.sessions).find((one) => one.main.pid === child.pid)
      if (!session?.sidecar) throw new Error('no session file with a sidecar')
      // A stopped main process does not start another sidecar.
      child.kill('SIGSTOP')
      await until(() => marked(mark).some((one) => one.pid === child.pid && one.state === 'T'), 5000)
      send(session.sidecar.pid, 'SIGKILL')
      child.kill('SIGKILL')
      await until(() => child.signalCode !== null, 5000)
      await sleep(300)
      const waiting = marked(mark).length
      const { child: next, said } = suite.startNext()
      const result = await counted(mark, () => {})
      await ended(next)
      if (result.survivors.length > 0) result.complaint = `the next run said: ${said().replace(/\s+/g, ' ')}`
      if (waiting === 0) result.complaint ??= 'nobody was left for the next run'
      if (next.exitCode !== 0) result.complaint ??= `the next run ended with ${next.exitCode ?? next.signalCode}`
      return result
    })
}

/** The main process is stopped for a while, which is no reason to touch anything; then it goes on, and is killed. */
export function stopMain(tree: Tree): TrialKind {
  return (suite) =>
    trial(suite, { tree }, async ({ child, mark }) => {
      const lasting = () => marked(mark).filter(({ command }) => command.startsWith('/bin/sleep 60.'))
      await until(() => lasting().length >= 12, 10_000)
      const before = lasting()
      child.kill('SIGSTOP')
      await sleep(2000)
      const complaint = changed(before, lasting())
      child.kill('SIGCONT')
      await sleep(300)
      const after = changed(before, lasting())
      const result = await counted(mark, () => child.kill('SIGKILL'))
      result.complaint ??= complaint ?? after
      return result
    })
}

function changed(before: Marked[], now: Marked[]): string | null {
  for (const one of before) {
    const same = now.find(({ pid, start }) => pid === one.pid && start === one.start)
    if (!same) return `${one.pid} ${one.command} was ended while the main process was stopped`
    if (same.state === 'T') return `${one.pid} ${one.command} was stopped with the main process`
  }
  return before.length === 0 ? 'there was no tree' : null
}

/** Marks of the trials that are under way. */
const active = new Set<string>()

/** Ends everything that the trials under way have started, for a script that is interrupted. */
export async function endTrials(): Promise<void> {
  await Promise.all([...active].map(endMarked))
}

async function trial(
  suite: Suite,
  options: Parameters<Suite['start']>[0],
  body: (run: { child: ChildProcess; mark: string }) => Promise<Trial>,
): Promise<Trial> {
  const run = suite.start(options)
  active.add(run.mark)
  try {
    const isTree = (one: Marked): boolean => one.command.includes('/tree.ts')
    const gone = () => run.child.exitCode !== null || run.child.signalCode !== null
    const began = await until(() => gone() || marked(run.mark).some(isTree), START_MS)
    if (!began || gone())
      return failed(`the tree never began${gone() ? `: the run ended with ${run.child.exitCode}` : ''}`)
    return await body(run)
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error))
  } finally {
    run.child.kill('SIGKILL')
    const clean = await endMarked(run.mark)
    await ended(run.child)
    active.delete(run.mark)
    if (!clean) console.error(`torture: processes with ${run.mark} could not be ended`)
  }
}

function failed(complaint: string): Trial {
  return { members: 0, survivors: [], cleanMs: null, complaint }
}

/** Kills, waits until nobody is left, and looks once more a little later: somebody may have been between fork and exec. */
async function counted(mark: string, kill: () => void): Promise<Trial> {
  const members = marked(mark).filter((one) => !one.sidecar).length
  const began = performance.now()
  kill()
  let cleanMs: number | null = null
  const isClean = (): boolean => {
    const left = marked(mark)
    if (left.some((one) => !one.sidecar)) cleanMs = null
    else cleanMs ??= performance.now() - began
    return left.length === 0
  }
  await until(isClean, CLEAN_MS)
  await sleep(200)
  isClean()
  const survivors = marked(mark)
  return { members, survivors, cleanMs, complaint: null }
}

async function ended(child: ChildProcess): Promise<void> {
  await until(() => child.exitCode !== null || child.signalCode !== null, START_MS)
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
}

/** Session files that neither a sidecar nor the next run has removed. */
export async function leftFiles(suite: Suite): Promise<string[]> {
  const left = (): string[] =>
    existsSync(suite.sessions) ? readdirSync(suite.sessions).filter((name) => !name.endsWith('.reaped.json')) : []
  await until(() => left().length === 0, FILES_MS)
  // A main process whose sidecar was killed with it leaves its files to the next run.
  if (left().length > 0 && !suite.otherUser) await recoverSessions({ stateDir: suite.sessions })
  return left()
}
