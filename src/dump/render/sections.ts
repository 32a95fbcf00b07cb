import type { DumpActor, DumpFrame, DumpRecord, DumpTask } from '../schema.ts'
import { count, oneLine, sameLine, seconds } from '../words.ts'
import { isUserFrame, stackLines } from './frames.ts'
import type { Marks } from './marks.ts'
import { otherSections } from './others.ts'
import { processLines } from './processes.ts'
import { awaitTreeLines } from './tree.ts'
import { waitLines } from './waits.ts'

/** A section: its title and lines; a section with nothing to say has one line in brackets with the reason. */
type Section = [title: string, lines: string[]]

/** All sections in their fixed order. Those that only some hangs have (cycle, lost promise, fake timers) may be absent. */
export function sectionsOf(record: DumpRecord, marks: Marks): Section[] {
  const sections: Section[] = []
  const { actors, verdict } = record
  if (verdict.cycles !== undefined && verdict.cycles.length > 0) {
    const lines = verdict.cycles.flatMap(cycleLines)
    sections.push([`cycle (${verdict.cycles.length} found)`, lines])
  }
  for (const actor of actors) sections.push([`sync stack: ${actor.path}`, syncLines(actor, record, marks)])
  const program = record.header.program !== undefined
  for (const actor of actors) {
    // One screen has to hold a whole process: what cannot say anything is left out.
    if (program && actor.awaits === undefined && !actor.answered) continue
    sections.push([`await tree: ${actor.path}`, treeLines(actor, record, marks)])
  }
  if (record.others !== undefined) sections.push(...otherSections(record.others, marks))
  if (record.waitedFor !== undefined) sections.push(...waitSections(record.waitedFor))
  if (record.lost !== undefined) sections.push(['lost promise', lostLines(record.lost, marks)])
  if (record.fakeTimers?.on === true) sections.push(['fake timers', fakeTimerLines(record.fakeTimers, marks)])
  for (const actor of actors) {
    if (program && actor.resources.length === 0 && actor !== actors[0]) continue
    sections.push([resourceTitle(actor), resourceLines(actor)])
  }
  const processes = processLines(record.processes, marks, program)
  sections.push(['processes', processes.length > 0 ? processes : ['(no process table was taken)']])
  for (const actor of actors) {
    if (actor.tasks.length > 0) sections.push([`tasks: ${actor.path}`, taskLines(actor)])
  }
  const again = record.reproduce.map((line) => oneLine(line))
  const title = record.header.program === undefined ? 'reproduce' : 'look again'
  sections.push([title, again.length > 0 ? again : ['(no command is known)']])
  sections.push(['capture notes', captureLines(record)])
  return sections
}

/** Ids fit on one line; members that are sentences get a line each. */
function cycleLines(members: string[]): string[] {
  const words = members.map((one) => oneLine(one, 240))
  if (words.every((one) => one.length <= 30)) return [`${words.join(' -> ')} -> back to ${words[0] ?? ''}`]
  return [...words, '  back to the first']
}

function syncLines(actor: DumpActor, record: DumpRecord, marks: Marks): string[] {
  const lines: string[] = []
  const frames = actor.syncStack ?? []
  if (frames.length > 0) {
    if (record.header.program !== undefined && actor.answered)
      lines.push('(the event loop turns; found here most often)')
    lines.push(...stackLines(frames, marks))
    if (!actor.answered) lines.push(...secondLook(actor, marks))
  } else if (actor.answered) {
    lines.push(
      record.header.program === undefined
        ? `(no JavaScript running; the event loop was idle after ${seconds(record.header.waitedMs)})`
        : '(no JavaScript running; the event loop turns)',
    )
  } else if (actor.crumb === undefined) {
    lines.push('(no stack: the thread ran no JavaScript that could be stopped)')
  }
  if (actor.crumb !== undefined) {
    const { call, detail, sinceMs, frames: callers } = actor.crumb
    lines.push(`inside ${oneLine(call)}(${oneLine(detail, 200)}) for ${seconds(sinceMs)}, called from`)
    lines.push(...stackLines(callers, marks).map((line) => `   ${line}`))
  }
  for (const sentence of actor.kernel ?? []) lines.push(`kernel: ${oneLine(sentence)}`)
  return lines
}

function secondLook(actor: DumpActor, marks: Marks): string[] {
  const { syncStack = [], secondStack = [], microtasks } = actor
  const lines: string[] = []
  if (secondStack.length === 0) lines.push('second look: not taken')
  else if (sameLine(topUser(secondStack)?.site, topUser(syncStack)?.site)) lines.push('second look: the same line')
  else lines.push('second look:', ...stackLines(secondStack, marks).map((line) => `   ${line}`))
  if (microtasks === 'turning') lines.push('microtasks: a promise job queued at the first look ran before the second')
  if (microtasks === 'still')
    lines.push('microtasks: a promise job queued at the first look did not run before the second')
  return lines
}

const topUser = (frames: readonly DumpFrame[]): DumpFrame | undefined => frames.find(isUserFrame)

function treeLines(actor: DumpActor, record: DumpRecord, marks: Marks): string[] {
  if (actor.awaits === undefined) {
    return [
      actor.answered ? '(no heap snapshot was taken)' : '(none: the thread did not answer, so its heap was not read)',
    ]
  }
  const { header } = record
  if (header.program !== undefined) {
    const lines = awaitTreeLines(actor, null, marks)
    return lines.length > 0 ? lines : ["(no function of the program's code is suspended)"]
  }
  const test = header.test === null ? null : `"${oneLine(header.test.join(marks.title))}"`
  const title =
    header.hook !== undefined && header.phase === 'hook'
      ? `hook ${oneLine(header.hook)}${test === null ? '' : ` of test ${test}`}`
      : test === null
        ? `${header.phase} of ${oneLine(header.file.path)}`
        : `test ${test}`
  const lines = awaitTreeLines(actor, title, marks)
  return lines.length > 0 ? lines : ["(no function of the user's code is suspended)"]
}

function waitSections(waited: NonNullable<DumpRecord['waitedFor']>): Section[] {
  const lines = waitLines(waited)
  return lines.length > 0 ? [['waited for', lines]] : []
}

function lostLines(lost: NonNullable<DumpRecord['lost']>, marks: Marks): string[] {
  const lines: string[] = []
  if (lost.proven) lines.push('in a second run, the promise was collected while it was pending')
  if (lost.note !== undefined) lines.push(oneLine(lost.note))
  for (const words of lost.streams ?? []) lines.push(`in use and not through: ${oneLine(words, 200)}`)
  if (lost.awaited.length > 0) lines.push('awaited at', ...stackLines(lost.awaited, marks).map((line) => `   ${line}`))
  if (lost.created.length > 0) lines.push('created at', ...stackLines(lost.created, marks).map((line) => `   ${line}`))
  return lines.length > 0 ? lines : ['(a second run with promises traced lost none)']
}

function fakeTimerLines(fake: NonNullable<DumpRecord['fakeTimers']>, marks: Marks): string[] {
  const lines = [`on, with ${count(fake.pending, 'pending timer')}`]
  if (fake.installed.length > 0)
    lines.push('installed at', ...stackLines(fake.installed, marks).map((line) => `   ${line}`))
  return lines
}

function resourceTitle(actor: DumpActor): string {
  if (actor.resources.length === 0) return `active resources: ${actor.path}`
  const alive = actor.resources.filter((one) => one.ref).length
  const others = actor.resources.length - alive
  return `active resources: ${actor.path} (${alive} ${alive === 1 ? 'keeps' : 'keep'} the loop alive, ${others} ${others === 1 ? 'does' : 'do'} not)`
}

function resourceLines(actor: DumpActor): string[] {
  if (actor.resources.length > 0) {
    return actor.resources.map((one) => {
      const created =
        one.created === undefined
          ? ''
          : `created ${one.created.path}:${one.created.line}${one.by === undefined ? '' : ` (as ${one.by} says of the second run)`}`
      const age = one.ageMs === undefined ? '' : seconds(one.ageMs, 1)
      const cells = [one.id, one.type, one.ref ? 'ref' : 'unref', age, one.what ?? '', created]
      return cells
        .filter((cell) => cell !== '')
        .map((cell) => oneLine(cell, 200))
        .join('   ')
    })
  }
  const counts = Object.entries(actor.resourceCounts ?? {})
  if (counts.length === 0) return [actor.resourceCounts === undefined ? '(not taken)' : '(none)']
  return counts.map(([type, n]) => `${oneLine(type, 80)}  ${n}`)
}

function taskLines(actor: DumpActor): string[] {
  const byId = new Map(actor.tasks.map((task) => [task.id, task]))
  return actor.tasks.map((task) => {
    const { wait, created } = task
    const on = wait?.on === undefined ? '' : ` (${wait.on}${wait.by === undefined ? '' : `, by ${wait.by}`})`
    const does = wait === undefined ? task.state : `waits ${seconds(wait.sinceMs)} for ${wait.reason}${on}`
    const at = created === undefined ? '' : `   ${created.path}:${created.line}`
    const indent = '  '.repeat(depthOf(task, byId))
    return oneLine(`${indent}${task.kind ?? 'task'} ${task.id} "${task.name ?? ''}"   ${does}${at}`, 200)
  })
}

/** Steps to the top; bounded, since a record from a file may hold a cycle. */
function depthOf(task: DumpTask, byId: ReadonlyMap<string, DumpTask>): number {
  let depth = 0
  for (let at: DumpTask | undefined = task; at?.parent != null && depth < MOST_DEPTH; depth++) at = byId.get(at.parent)
  return depth
}

const MOST_DEPTH = 10

function captureLines(record: DumpRecord): string[] {
  const { tookMs, missing = [], redacted = 0, budgets = [] } = record.capture
  const took = tookMs === undefined ? 'taken' : `taken in ${seconds(tookMs)}`
  const secrets = `secrets: ${count(redacted, 'value')} redacted`
  const spent = budgets.map((one) => `time for ${oneLine(one)}`)
  if (missing.length === 0) return [`${took}; nothing missing; ${secrets}`, ...spent]
  return [`${took}; ${secrets}; missing:`, ...missing.map((one) => `- ${oneLine(one)}`), ...spent]
}
