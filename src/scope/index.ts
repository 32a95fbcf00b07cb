/** Structured concurrency inside one process. */
export { scopeLimits } from './limits.ts'
export { openTaskNursery, TaskNursery, type TaskNurseryOptions } from './nursery.ts'
export { checkpoint, type Disarm, Parked, park, parkOn, sleep, sleepForever } from './park.ts'
export { WAIT_REASONS, type Wait, type WaitReason } from './reasons.ts'
export {
  failAfter,
  type Moved,
  moveOnAfter,
  runDetached,
  runScope,
  type ScopeOptions,
  shield,
  withCleanup,
  withSignal,
} from './run.ts'
export { type CancelCallback, currentHost, currentScope, Scope } from './scope.ts'
export type { CreationSite } from './sites.ts'
export {
  currentTask,
  onUncooperative,
  Task,
  type TaskState,
  type UncooperativeTask,
  uncooperativeTasks,
} from './task.ts'
export { type TaskNode, taskTree } from './tree.ts'
