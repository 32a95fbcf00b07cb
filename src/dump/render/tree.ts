import type { HeldBy } from '../../inspect/facts.ts'
import type { DumpActor, DumpAwait, DumpWait } from '../schema.ts'
import { count, list, oneLine, where } from '../words.ts'
import { foldLine, frameLine, isUserFrame, localsLine } from './frames.ts'
import type { Marks } from './marks.ts'
import { Shapes } from './shapes.ts'

/** More lines than this say no more; the JSON form has all of them. */
const MAX_NODES = 400
const MAX_DEPTH = 60
/** So many equal branches are one, whatever their locals. */
const MANY = 4
/** Functions that are looked at. */
const MAX_READ = 5000

/**
 * The await graph as trees, outermost first: what the hung section waits for, then the rest by owner.
 *
 * @param title of the hung section; null for a program, whose functions belong to no section
 */
export function awaitTreeLines(actor: DumpActor, title: string | null, marks: Marks): string[] {
  const awaits = (actor.awaits ?? []).slice(0, MAX_READ)
  const graph = new Graph(awaits, marks)
  const owners = [...new Set(awaits.map((one) => one.owner))]
  const mine = actor.owner ?? null
  // The hung section first, the others in the order in which they were found, the leftovers last.
  owners.sort((a, b) => rank(a, mine) - rank(b, mine))
  const lines: string[] = []
  for (const owner of owners) {
    const tree = graph.treeOf(owner)
    if (tree.length === 0) continue
    if (title !== null) lines.push(owner !== null && owner === mine ? title : ownerTitle(owner))
    lines.push(...tree)
  }
  graph.left += (actor.awaits ?? []).length - awaits.length
  if (graph.left > 0) lines.push(`${marks.fold} ${count(graph.left, 'more function')}, see the JSON form of this dump`)
  return lines
}

function rank(owner: string | null, mine: string | null): number {
  if (owner === null) return 2
  return owner === mine ? 0 : 1
}

function ownerTitle(owner: string | null): string {
  return owner === null
    ? 'not awaited by a running test or hook (left by an earlier one, or never awaited)'
    : oneLine(owner)
}

class Graph {
  /** Functions that did not fit. */
  left = 0
  readonly #marks: Marks
  readonly #byId: Map<number, DumpAwait>
  readonly #below = new Map<number, DumpAwait[]>()
  readonly #shown = new Set<number>()
  readonly #shapes: Shapes
  #nodes = 0

  constructor(awaits: readonly DumpAwait[], marks: Marks) {
    this.#marks = marks
    this.#byId = new Map(awaits.map((one) => [one.id, one]))
    for (const one of awaits) {
      for (const above of one.awaitedBy) {
        const known = this.#below.get(above)
        if (known === undefined) this.#below.set(above, [one])
        else known.push(one)
      }
    }
    this.#shapes = new Shapes(this.#below)
  }

  treeOf(owner: string | null): string[] {
    const members = [...this.#byId.values()].filter((one) => one.owner === owner)
    // Nothing of the user's: runtime functions that wait for their own work.
    if (!members.some(isUserFrame)) return []
    const roots = members.filter((one) => !one.awaitedBy.some((id) => this.#byId.get(id)?.owner === owner))
    const lines = this.#level(roots, '', 0)
    // Members of a cycle have no root; each gets its turn, and those that were shown below another are skipped.
    for (const one of members) {
      if (isUserFrame(one) && !this.#shown.has(one.id)) lines.push(...this.#level([one], '', 0))
    }
    return lines
  }

  #level(awaits: readonly DumpAwait[], indent: string, depth: number): string[] {
    const nodes = this.#nodesOf(awaits)
    return nodes.flatMap((node, i) => {
      const last = i === nodes.length - 1
      const mark = last ? this.#marks.last : this.#marks.branch
      const inner = indent + (last ? this.#marks.gap : this.#marks.pipe)
      return this.#node(node, indent + mark, inner, depth)
    })
  }

  /** Frames of the user's one by one; the others as one folded node with the user's frames below them. */
  #nodesOf(awaits: readonly DumpAwait[]): Node[] {
    const nodes: Node[] = []
    const folded: DumpAwait[] = []
    const beneath: DumpAwait[] = []
    const queue = awaits.filter((one) => !isUserFrame(one) && !this.#shown.has(one.id))
    nodes.push(...this.#groups(awaits.filter(isUserFrame)))
    for (const one of queue) {
      if (this.#shown.has(one.id)) continue
      this.#shown.add(one.id)
      folded.push(one)
      for (const next of this.#below.get(one.id) ?? []) {
        if (isUserFrame(next)) beneath.push(next)
        else queue.push(next)
      }
    }
    if (folded.length > 0) nodes.push({ folded, beneath: [...new Set(beneath)] })
    return nodes
  }

  /** Equal branches as one; a few that differ in their locals stay apart. */
  #groups(frames: readonly DumpAwait[]): { frame: DumpAwait; times: number; same: boolean }[] {
    const groups = new Map<string, DumpAwait[]>()
    for (const one of frames) {
      const shape = this.#shapes.of(one)
      const group = this.#shown.has(one.id) ? undefined : groups.get(shape)
      if (group === undefined) groups.set(this.#shown.has(one.id) ? `${shape} ${one.id}` : shape, [one])
      else group.push(one)
    }
    return [...groups.values()].flatMap((group) => {
      const first = group[0] as DumpAwait
      const same = group.every((one) => sameLocals(one, first))
      if (!same && group.length < MANY) return group.map((frame) => ({ frame, times: frame.count ?? 1, same: true }))
      for (const one of group.slice(1)) this.#hide(one)
      return [{ frame: first, times: group.reduce((sum, one) => sum + (one.count ?? 1), 0), same }]
    })
  }

  /** What stands for one like it is not shown, nor is anything below it. */
  #hide(frame: DumpAwait): void {
    const queue = [frame]
    for (const one of queue) {
      if (this.#shown.has(one.id)) continue
      this.#shown.add(one.id)
      queue.push(...(this.#below.get(one.id) ?? []))
    }
  }

  #node(node: Node, head: string, inner: string, depth: number): string[] {
    if (this.#nodes >= MAX_NODES || depth >= MAX_DEPTH) {
      this.left++
      return []
    }
    this.#nodes++
    if ('folded' in node) {
      const held = node.folded.flatMap((one) => one.heldBy)
      const lines = [head + foldLine(node.folded, this.#marks), ...holders(held, inner)]
      return [...lines, ...this.#level(node.beneath, inner, depth + 1)]
    }
    const { frame, times, same } = node
    const line = head + (times > 1 ? `${times}x ` : '') + frameLine(frame)
    if (this.#shown.has(frame.id)) return [`${line}   (shown above)`]
    this.#shown.add(frame.id)
    const below = this.#below.get(frame.id) ?? []
    const bar = below.length > 0 ? inner + this.#marks.pipe : inner + this.#marks.gap
    const lines = [frame.exact ? line : `${line}   (defined here; the line of its await is not known)`]
    const locals = localsLine(frame)
    if (locals !== undefined) lines.push(`${bar}${same ? '' : 'one of them: '}${locals}`)
    const { members, wait } = frame
    if (members !== undefined) lines.push(bar + memberWords(members))
    if (wait !== undefined) lines.push(bar + waitWords(wait))
    lines.push(...holders(frame.heldBy, bar))
    lines.push(...this.#level(below, inner, depth + 1))
    return lines
  }
}

function sameLocals(a: DumpAwait, b: DumpAwait): boolean {
  const [one, other] = [Object.entries(a.locals ?? {}), b.locals ?? {}]
  return one.length === Object.keys(other).length && one.every(([name, value]) => other[name] === value)
}

function memberWords({ of, pending }: NonNullable<DumpAwait['members']>): string {
  return `Promise.${oneLine(of, 20)}: ${pending.length === 1 ? 'member' : 'members'} ${list(pending.map(String))} pending (counted from 0)`
}

function waitWords({ reason, for: what, created }: DumpWait): string {
  const at = created === undefined ? '' : `   created ${where(created)}`
  return `waits for ${oneLine(reason, 40)}: ${oneLine(what, 200)}${at}`
}

type Node = { frame: DumpAwait; times: number; same: boolean } | { folded: DumpAwait[]; beneath: DumpAwait[] }

function holders(held: readonly HeldBy[], indent: string): string[] {
  return held.slice(0, 4).map((one) => {
    const event = one.event === undefined ? '' : `   event '${oneLine(one.event, 80)}'`
    const fake = one.fakeClock === true ? '   on the fake clock' : ''
    return `${indent}waits in ${oneLine(one.path, 200)}${event}${fake}`
  })
}
