import type { DumpActor, DumpOther } from '../schema.ts'
import { oneLine, sameLine, where } from '../words.ts'
import { isUserFrame, stackLines } from './frames.ts'
import type { Marks } from './marks.ts'
import { awaitTreeLines } from './tree.ts'

/** One section for each thread beside the actors. */
export function otherSections(others: readonly DumpOther[], marks: Marks): [title: string, lines: string[]][] {
  return others.map((other) => [titleOf(other), linesOf(other, marks)])
}

function titleOf({ label, threadId, state }: DumpOther): string {
  const name = oneLine(label, 160)
  if (threadId === 0) return name
  return `${state === 'idle' ? 'suspended' : 'sync stack'}: ${name}`
}

function linesOf(other: DumpOther, marks: Marks): string[] {
  const { created, syncStack, secondStack = [], microtasks, awaits, kernel = [], notes = [] } = other
  const lines: string[] = []
  if (created !== undefined) lines.push(oneLine(`started at ${where(created)}`))
  if (syncStack !== undefined) {
    lines.push('busy; its event loop does not turn', ...indented(stackLines(syncStack, marks)))
    if (secondStack.length === 0) lines.push('second look: not taken')
    else if (sameLine(syncStack.find(isUserFrame)?.site, secondStack.find(isUserFrame)?.site))
      lines.push('second look: the same line')
    else lines.push('second look:', ...indented(stackLines(secondStack, marks)))
    if (microtasks === 'turning') lines.push('promise jobs run over and over')
  }
  if (awaits !== undefined) {
    // Nobody's test runs there: all of it is one tree.
    const all = awaits.map((one) => ({ ...one, owner: OWNER }))
    const actor: DumpActor = {
      path: other.label,
      pid: other.pid,
      answered: true,
      awaits: all,
      owner: OWNER,
      tasks: [],
      resources: [],
    }
    const tree = awaitTreeLines(actor, 'idle; suspended are', marks)
    lines.push(...(tree.length > 0 ? tree : ["idle; no function of the user's code is suspended"]))
  }
  for (const sentence of kernel) lines.push(`kernel: ${oneLine(sentence)}`)
  for (const note of notes) lines.push(`(${oneLine(note)})`)
  return lines.length > 0 ? lines : ['(nothing is known of it)']
}

const OWNER = 'other'

const indented = (lines: readonly string[]): string[] => lines.map((line) => `   ${line}`)
