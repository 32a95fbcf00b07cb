import { code, type HeapGraph } from './graph.ts'
import { variableName } from './variables.ts'

/** A step of a walk over retainers: `node` holds `to` by `edge`; `next` is the step from `to` on. */
export interface Step {
  node: number
  edge: number
  to: number
  next: Step | null
}

const TABLE = code('table')
const CONTEXT = code('system / Context')
const MAX_PATH = 160
const MAX_KEY = 40

/**
 * A path for reading: `Lock.waiting[0]`, `Server._events.close`, `Registry.pending.get("42")`, `variable queue[0]`. It
 * ends at the first function: what that one has captured in turn is not the owner's affair.
 */
export function renderPath(graph: HeapGraph, first: Step, owner: string): { path: string; event?: string } {
  let path = owner
  let event: string | undefined
  let previous = ''
  for (let step: Step | null = first; step && path.length < MAX_PATH; step = step.next) {
    const type = graph.edgeType(step.edge)
    const label = graph.label(step.edge)
    if (step === first && graph.nameCode(step.node) === CONTEXT)
      path += ` ${variableName(graph, step.node, step.edge) ?? '?'}`
    else if (type === graph.kind.element) path += `[${label}]`
    else if (type === graph.kind.property) {
      const symbol = /^<symbol (.*)>$/.exec(label)
      path += symbol ? `[${symbol[1]}]` : /^\d+$/.test(label) ? `[${label}]` : `.${label}`
      if (previous === '_events') event = label
      previous = symbol?.[1] ?? label
    } else if (graph.type(step.node) === 'array' && isTable(graph, step.node)) {
      const key = keyBefore(graph, step)
      path += key === null ? '.get(…)' : `.get(${JSON.stringify(key)})`
      if (key !== null && previous === 'kEvents') event = key
    }
    if (graph.isClosure(step.to)) break
  }
  return event === undefined ? { path } : { path, event }
}

function isTable(graph: HeapGraph, array: number): boolean {
  for (const edge of graph.incoming(array)) if (graph.edgeCode(edge) === TABLE) return true
  return false
}

/** In the hash table of a Map the slot before a value holds its key. */
function keyBefore(graph: HeapGraph, step: Step): string | null {
  const place = Number(graph.label(step.edge))
  const end = graph.endEdge(step.node)
  for (let edge = graph.firstEdge(step.node); edge < end; edge++) {
    if (Number(graph.label(edge)) !== place - 1) continue
    const key = graph.target(edge)
    const type = graph.type(key)
    return type === 'string' || type === 'concatenated string' ? graph.flat(key).slice(0, MAX_KEY) : null
  }
  return null
}
