import type { Aid } from '../wire/messages.ts'
import type { RuntimeVars } from './runtime-vars.ts'

/** What a child does when its parent is gone, and who deals with its SIGINT. */
export const ON_PARENT_LOST = ['cancel', 'stay'] as const
export const CHILD_SIGINT = ['ipc', 'runtime'] as const

/** The first thing a child hears after the hellos. */
export interface SpawnSpec {
  parent: Aid
  vars: RuntimeVars
  /** URLs of the modules that it exposes, the one that answers by default first. */
  modules: string[]
  regAddrs: string[]
  /** Addresses to bind; a free one of its own when empty. */
  bindAddrs: string[]
  onParentLost: (typeof ON_PARENT_LOST)[number]
  childSigint: (typeof CHILD_SIGINT)[number]
  /** Labels of this actor and those above it, joined by dots; its children carry it on. */
  lineage: string
}

/** Is this a spec at all? The rest is ours and needs no proof. */
export function isSpec(value: unknown): value is SpawnSpec {
  const { parent, vars, modules, lineage } = (value ?? {}) as Partial<SpawnSpec>
  return (
    typeof parent?.uuid === 'string' &&
    typeof vars === 'object' &&
    Array.isArray(modules) &&
    typeof lineage === 'string'
  )
}
