import { currentScope } from '../scope/index.ts'
import { type Context, contextOf } from './context.ts'

/** The context whose endpoint, or whose body, runs now; undefined outside of any. */
export function currentIpcCtx(): Context | undefined {
  return contextOf(currentScope()) as Context | undefined
}
