/** From what the user typed to processes. */
import { UsageError } from '../errors.ts'
import { listProcesses, type ProcessRow } from '../process/list.ts'
import { readCommand } from '../process/procfs.ts'
import { descendantPids } from '../process/tree.ts'
import { isNode } from './outside.ts'

/** A process that fits a pattern. */
export interface Match {
  pid: number
  ageMs: number | null
  rssBytes: number | null
  command: string
}

/**
 * The Node processes of this user whose command line fits, oldest first: a text that stands in it, or a regular expression.
 * The caller and its ancestors are left out: `npx harrow dump server` would find itself.
 *
 * @throws {UsageError} when the pattern is neither
 */
export async function findByPattern(pattern: string): Promise<Match[]> {
  const fits = matcher(pattern)
  const rows = await listProcesses()
  const own = process.getuid?.()
  const above = ancestors(rows)
  return rows
    .filter((row) => !row.kernel && row.state !== 'Z' && !above.has(row.pid))
    .filter(({ uid }) => own === undefined || uid === null || uid === own)
    .map((row) => ({ row, command: commandLine(row) }))
    .filter(({ row, command }) => fits(command) && isNode(row))
    .map(({ row: { pid, ageMs, rssBytes }, command }) => ({ pid, ageMs, rssBytes, command }))
    .sort((a, b) => (b.ageMs ?? 0) - (a.ageMs ?? 0))
}

function commandLine({ pid, command }: ProcessRow): string {
  return readCommand(pid)?.replace(/\s+/g, ' ').trim() || command
}

function matcher(pattern: string): (text: string) => boolean {
  let expression: RegExp | undefined
  try {
    expression = new RegExp(pattern)
  } catch (error) {
    // A path such as `src/[id].ts` is found as the text that it is.
    if (pattern.trim() === '') throw new UsageError('the pattern is empty', { cause: error })
  }
  if (pattern.trim() === '') throw new UsageError('expected a pid or a part of a command line, got an empty text')
  return (text) => text.includes(pattern) || expression?.test(text) === true
}

function ancestors(rows: readonly ProcessRow[]): Set<number> {
  const parents = new Map(rows.map(({ pid, ppid }) => [pid, ppid]))
  const found = new Set<number>()
  for (let pid: number | undefined = process.pid; pid && !found.has(pid); pid = parents.get(pid)) found.add(pid)
  return found
}

/** A process and those below it that run Node, each parent before its children. */
export async function nodeTree(pid: number): Promise<number[]> {
  const rows = new Map((await listProcesses()).map((row) => [row.pid, row]))
  const below = descendantPids(pid).filter((one) => {
    const row = rows.get(one)
    return row !== undefined && one !== process.pid && row.state !== 'Z' && isNode(row)
  })
  return [pid, ...below]
}
