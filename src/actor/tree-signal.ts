/** SIGUSR2 prints the tasks of an actor, then of those below it. SIGUSR1 would open Node's inspector. */
import { appendFileSync } from 'node:fs'
import { runtimeDir } from '../process/runtime-dir.ts'
import { type TaskNode, taskTree } from '../scope/index.ts'
import type { Actor } from './actor.ts'
import { log } from './log.ts'

/** File to which an actor's process writes its trees. */
export const treeFile = (pid = process.pid): string => `${runtimeDir()}/harrow-tree-${pid}.log`

/**
 * Listens for the tree signal, where it is switched on and this thread has signals.
 *
 * @returns a function that stops it
 */
export function watchTreeSignal(actor: Actor): () => void {
  const signal = actor.vars.treeSignal
  if (signal === 'none') return () => {}
  // Not loaded before it is needed, by any start of an actor.
  if (!process.getBuiltinModule('node:worker_threads').isMainThread) return () => {}
  const onSignal = (): void => printTree(actor, signal)
  process.on(signal, onSignal)
  return () => process.removeListener(signal, onSignal)
}

/** Never throws. Ours goes first, so that the output of a parent stands before that of its children. */
function printTree(actor: Actor, signal: NodeJS.Signals): void {
  try {
    const text = renderTree(actor)
    appendFileSync(treeFile(), text, { mode: 0o600 })
    try {
      appendFileSync('/dev/tty', text)
    } catch {
      // There is no terminal: the file has it.
    }
  } catch (error) {
    log('error', `the task tree could not be printed: ${error instanceof Error ? error.message : String(error)}`)
  }
  for (const nursery of actor.nurseries) {
    for (const { handle } of nursery.children.values()) {
      if (handle?.pid !== undefined) signalChild(handle.pid, signal)
    }
  }
}

function signalChild(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has just ended.
  }
}

/** The tree as text. */
export function renderTree(actor: Actor): string {
  const lines = [`${new Date().toISOString()} ${actor}`]
  const walk = (node: TaskNode, depth: number): void => {
    const wait = node.wait ? ` waits ${(node.wait.sinceMs / 1000).toFixed(1)} s for ${node.wait.reason}` : ''
    const on = node.wait?.on ? ` (${node.wait.on})` : ''
    const at = node.created ? `   ${node.created.path}:${node.created.line}:${node.created.column ?? 1}` : ''
    lines.push(`${'  '.repeat(depth)}${node.kind} "${node.name}" ${node.state}${wait}${on}${at}`)
    for (const child of node.children) walk(child, depth + 1)
  }
  for (const node of taskTree()) walk(node, 1)
  for (const nursery of actor.nurseries) {
    for (const child of nursery.children.values()) lines.push(`  actor ${child}: ${child.state}`)
  }
  return `${lines.join('\n')}\n`
}
