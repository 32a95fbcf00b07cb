/** The actors of this process, told by the actor runtime if one is loaded; nothing here imports it. */

/** A nursery or a task. */
export interface TaskFact {
  id: string
  kind: 'task' | 'nursery'
  name: string
  state: 'running' | 'parked' | 'cancelling' | 'done'
  wait: { reason: string; on: string | null; by: string | null; sinceMs: number } | null
  created: { path: string; line: number; column: number } | null
  children: TaskFact[]
}

/** An actor with those below it. */
export interface ActorFact {
  name: string
  /** `root/tally` */
  path: string
  backend: string
  pid: number
  threadId?: number
  /** False when it gave no answer in time. */
  answered: boolean
  /** It was asked to end. */
  cancelled: boolean
  /** As its parent sees it: `booting`, `running`, `ending`. */
  state?: string
  tasks: TaskFact[]
  children: ActorFact[]
}

const PROVIDER = Symbol.for('harrow.actors')
type Provider = (limitMs: number) => Promise<ActorFact>
const holder = globalThis as { [PROVIDER]?: Provider }

/** Sets, or with undefined removes, whoever can tell of the actors of this process. */
export function provideActors(provider: Provider | undefined): void {
  holder[PROVIDER] = provider
}

/** Is an actor runtime open in this process? */
export function hasActors(): boolean {
  return holder[PROVIDER] !== undefined
}

/** All actors of the tree below this process; null without a runtime, or when it cannot tell. At most about `limitMs`. */
export async function askActors(limitMs: number): Promise<ActorFact | null> {
  try {
    return (await holder[PROVIDER]?.(limitMs)) ?? null
  } catch {
    return null
  }
}
