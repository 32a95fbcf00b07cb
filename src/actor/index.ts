/** The actor runtime. */
export { Actor, currentActor, currentActorOrNone } from './actor.ts'
export { type ActorNode, actorTree } from './actor-tree.ts'
export { Context } from './context.ts'
export { currentIpcCtx } from './current-context.ts'
export { DEADLINES, type Deadlines, LIMITS } from './deadlines.ts'
export {
  type FindOptions,
  findActor,
  getParent,
  getRegistry,
  getRoot,
  waitForActor,
} from './discovery.ts'
export { type Calls, type ContextEndpoint, type Contexts, context, type Generators } from './endpoints.ts'
export type { LifetimeStack } from './lifetime.ts'
export { LOG_LEVELS, type LogLevel } from './log.ts'
export {
  ActorNursery,
  type ActorOptions,
  type NurseryOptions,
  openNursery,
  type RunOptions,
  type StartOptions,
} from './nursery.ts'
export { breakIpc, type ContextOptions, Portal } from './portal.ts'
export { openRoot, type RootOptions, runDaemon } from './root.ts'
export { getRuntimeVars, type RuntimeVars, setRuntimeVars } from './runtime-vars.ts'
export { Stream, type StreamOptions } from './stream.ts'
