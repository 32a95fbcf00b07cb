/** The tasks of an actor and of all actors below it, asked for with a bound. */
import { moveOnAfter, type TaskNode, taskTree } from '../scope/index.ts'
import { PROCESS_METHODS } from '../spawn/methods.ts'
import type { Actor } from './actor.ts'

/** One actor in a dump. */
export interface ActorNode {
  name: string
  uuid: string
  /** `root/tally`. */
  path: string
  backend: string
  /** Process in which it runs. */
  pid: number
  threadId?: number
  /** False when it gave no answer in time: its tasks are not known then. */
  answered: boolean
  /** It was asked to end. */
  cancelled: boolean
  /** State of the child as its parent sees it: `booting`, `running`, `ending`. */
  state?: string
  tasks: TaskNode[]
  children: ActorNode[]
}

/** Each level keeps this much of the time for the way back. */
const STEP_MS = 40
const SHORTEST_MS = 30

/**
 * Asks an actor and all below it. Never rejects; an actor that does not answer in time is listed without its tasks.
 *
 * @param limitMs for the whole, milliseconds
 */
export async function actorTree(actor: Actor, limitMs: number, path = actor.aid.name): Promise<ActorNode> {
  const children = [...actor.nurseries].flatMap((nursery) => [...nursery.children.values()])
  const below = Math.max(SHORTEST_MS, limitMs - STEP_MS)
  return {
    name: actor.aid.name,
    uuid: actor.aid.uuid,
    path,
    backend: actor.spawnMethod,
    pid: process.pid,
    answered: true,
    cancelled: actor.isCancelled,
    tasks: taskTree(),
    children: await Promise.all(
      children.map(async (child) => {
        const { handle, peer, aid } = child
        const place = `${path}/${aid.name}`
        const answer = peer && (await ask(() => peer.call('self', 'tree', [below]) as Promise<ActorNode>, below))
        if (answer) return withPath(answer, place)
        return {
          name: aid.name,
          uuid: aid.uuid,
          path: place,
          backend: child.method,
          pid: handle?.pid ?? (PROCESS_METHODS.includes(child.method) ? 0 : process.pid),
          ...(handle?.threadId !== undefined && { threadId: handle.threadId }),
          answered: false,
          cancelled: peer?.cancelCalled ?? false,
          state: child.state,
          tasks: [],
          children: [],
        }
      }),
    ),
  }
}

function withPath(node: ActorNode, path: string): ActorNode {
  return { ...node, path, children: node.children.map((child) => withPath(child, `${path}/${child.name}`)) }
}

async function ask<T>(call: () => Promise<T>, limitMs: number): Promise<T | undefined> {
  try {
    const outcome = await moveOnAfter(limitMs, call)
    return outcome.timedOut ? undefined : outcome.value
  } catch {
    return undefined
  }
}
