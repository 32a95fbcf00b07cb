import type { StreamFact } from '../../inspect/wait-facts.ts'
import type { DumpWaitedFor } from '../schema.ts'
import { stateWords } from '../stream-waits.ts'
import { oneLine, quote, where } from '../words.ts'
import { isUserFrame } from './frames.ts'

const MOST = 20

/** The children of the worker and the objects that hold what is awaited, one or some lines each. */
export function waitLines({ objects, children, signals }: DumpWaitedFor): string[] {
  const lines: string[] = []
  for (const child of children.slice(0, MOST)) {
    const created = child.created === undefined ? '' : `   created ${where(child.created)}`
    lines.push(oneLine(`child ${child.pid} ${quote(child.command)}   ${lifeWords(child)}${created}`))
    if (child.kernel?.doing != null) lines.push(`   is ${oneLine(child.kernel.doing, 200)}`)
    for (const { part, stream } of child.stdio) lines.push(`   our end of ${part}: ${streamLine(stream)}`)
    for (const { pid, command, part, does } of child.users) {
      const verb = does === 'write' ? 'waits to write to' : does === 'read' ? 'waits to read from' : 'holds'
      lines.push(oneLine(`   ${pid} ${quote(command)} ${verb} ${part}`))
    }
  }
  for (const { name, stream, server, child } of objects.slice(0, MOST)) {
    if (child !== undefined) continue
    if (stream !== undefined) lines.push(streamLine(stream))
    if (server !== undefined) {
      lines.push(
        oneLine(`${name} at ${server.path ?? server.port ?? 'no address'}, ${server.connections ?? '?'} connections`),
      )
    }
  }
  for (const { pid, signal, frames } of signals.slice(-MOST)) {
    const at = frames.find(isUserFrame)
    lines.push(oneLine(`${signal} was sent to ${pid}${at === undefined ? '' : ` at ${where(at.site)}`}`))
  }
  return lines
}

function lifeWords({ exitCode, signalCode, connected, kernel }: DumpWaitedFor['children'][number]): string {
  if (signalCode !== null) return `ended by ${signalCode}`
  if (exitCode !== null) return `exited with code ${exitCode}`
  return `alive${kernel === null ? '' : ` (${kernel.state})`}${connected ? ', channel open' : ''}`
}

const streamLine = (stream: StreamFact): string => oneLine(stateWords(stream), 200)
