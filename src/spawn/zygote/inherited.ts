/** What a zygote has open that must not live on in its children: timers and handles, also those that `unref()` hides. */
import { createHook } from 'node:async_hooks'
import { clearTimer, clearTurn } from '../../process/clean.ts'

const TIMERS = new Set(['Timeout', 'Immediate'])
/** Resources with a descriptor or a thread behind them, by the name that async_hooks gives them. */
const HANDLES =
  /^(TCP|TCPSERVER|PIPE|PIPESERVER|UDP|TTY|FSEVENT|STATWATCHER|PROCESS|MESSAGEPORT|WORKER|SIGNAL|HTTP2SESSION|JSSTREAM)(WRAP)?$/

/** Work of node:crypto in the thread pool, which `process.getActiveResourcesInfo()` does not list (Node 24). */
const JOBS = /REQUEST$/

interface Closable {
  close?(): void
}

export interface Inherited {
  /** In the child: ends all of it. */
  drop(): void
  /** Jobs of the thread pool that are under way, and worker threads. */
  jobs(): string[]
}

/** Notes from now on what is made, and forgets what ends. */
export function watchInherited(): Inherited {
  const timers = new Map<number, object>()
  const handles = new Map<number, WeakRef<object>>()
  const workers = new Set<number>()
  const jobs = new Map<number, { type: string; job: WeakRef<object> }>()
  const hook = createHook({
    init(id, type, _trigger, resource: object) {
      if (type === 'WORKER') workers.add(id)
      if (TIMERS.has(type)) timers.set(id, resource)
      else if (HANDLES.test(type)) handles.set(id, new WeakRef(resource))
      else if (JOBS.test(type)) jobs.set(id, { type, job: new WeakRef(resource) })
    },
    after(id) {
      jobs.delete(id)
    },
    destroy(id) {
      jobs.delete(id)
      workers.delete(id)
      timers.delete(id)
      handles.delete(id)
    },
  }).enable()
  return {
    // One that runs at once has nobody who is told of its end, and is done.
    jobs: () => [
      ...[...jobs.values()].flatMap(({ type, job }) => ('ondone' in (job.deref() ?? {}) ? [type] : [])),
      ...[...workers].map(() => 'Worker'),
    ],
    drop() {
      hook.disable()
      for (const timer of timers.values()) {
        clearTimer(timer as NodeJS.Timeout)
        clearTurn(timer as NodeJS.Immediate)
      }
      for (const handle of handles.values()) close(handle.deref() as Closable | undefined)
      timers.clear()
      handles.clear()
    },
  }
}

function close(handle: Closable | undefined): void {
  try {
    handle?.close?.()
  } catch {
    // Closed already.
  }
}
