import { monotonic } from './clock.ts'
import { openNurseries, type TaskNursery } from './nursery.ts'
import type { WaitReason } from './reasons.ts'
import type { CreationSite } from './sites.ts'
import type { Task } from './task.ts'

/** A nursery or a task in a dump; plain data. */
export interface TaskNode {
  id: string
  kind: 'task' | 'nursery'
  name: string
  state: 'running' | 'parked' | 'cancelling' | 'done'
  wait: { reason: WaitReason; on: string | null; by: string | null; sinceMs: number } | null
  created: CreationSite | null
  children: TaskNode[]
}

/**
 * All nurseries of this process that are open, with their tasks, as a tree.
 *
 * @param prefix stands before the numbers: `root/3`
 * @param of only those whose scope belongs to this host
 */
export function taskTree(prefix = '', of?: unknown): TaskNode[] {
  const byOwner = new Map<Task | undefined, TaskNursery[]>()
  for (const nursery of openNurseries) {
    if (of !== undefined && nursery.scope.host !== of) continue
    const list = byOwner.get(nursery.owner) ?? []
    byOwner.set(nursery.owner, list)
    list.push(nursery)
  }
  const now = monotonic()
  const ofNursery = (nursery: TaskNursery, number: number, above: string): TaskNode => ({
    id: `${above}n${number}`,
    kind: 'nursery',
    name: nursery.name,
    state: nursery.scope.cancelled ? 'cancelling' : 'running',
    wait: null,
    created: nursery.created,
    children: nursery.tasks.map((task) => ofTask(task)),
  })
  const ofTask = (task: Task): TaskNode => {
    const { wait } = task
    const id = `${prefix}${task.id}`
    return {
      id,
      kind: 'task',
      name: task.name,
      state: task.state,
      wait: wait
        ? { reason: wait.reason, on: wait.on ?? null, by: wait.by ?? null, sinceMs: Math.round(now - wait.since) }
        : null,
      created: task.created,
      children: (byOwner.get(task) ?? []).map((nursery, index) => ofNursery(nursery, index + 1, `${id}.`)),
    }
  }
  const owned = new Set([...openNurseries].flatMap((nursery) => nursery.tasks))
  const roots = [...byOwner].filter(([owner]) => owner === undefined || !owned.has(owner))
  return roots.flatMap(([, list]) => list).map((nursery, index) => ofNursery(nursery, index + 1, prefix))
}
