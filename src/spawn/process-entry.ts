/** What actors that are processes have in common at their start. */
import type { Aid } from '../wire/messages.ts'

/** A parent that cannot be reached in this time is none. */
export const DIAL_MS = 5000
/** Loading the native layer costs milliseconds that the first reply must not pay. */
const GUARD_AFTER_MS = 50

/** Reads who we are from the command line, and sets title and guard before the runtime starts. */
export function bootProcess(): { aid: Aid; parentAddr: string } {
  const value = (name: string): string => {
    const found = process.argv.find((word) => word.startsWith(`--harrow-${name}=`))
    return found === undefined ? '' : found.slice(found.indexOf('=') + 1)
  }
  const actor = value('actor')
  const at = actor.lastIndexOf('@')
  if (at < 1) {
    console.error('harrow: this is the entry of an actor; it is started by a nursery and not by hand')
    process.exit(2)
  }
  const name = actor.slice(0, at)
  process.title = `harrow[${name}@${process.pid}]`
  const guardedBy = value('guarded')
  // It has died before the guard was set, and another has adopted us.
  if (guardedBy !== '' && Number(guardedBy) !== process.ppid) process.exit(1)
  if (guardedBy === '' && !process.argv.includes('--harrow-stay')) dieWithParent()
  return { aid: { name, uuid: actor.slice(at + 1) }, parentAddr: value('parent') }
}

/**
 * A loop that never ends sees no channel close: then the kernel ends the process with its parent. For a process that was not
 * started guarded ({@link file://./launcher.ts}).
 */
function dieWithParent(): void {
  setTimeout(async () => {
    const { isNative, loadNative } = await import('../process/native.ts')
    const native = loadNative()
    if (isNative(native)) native.dieWithParent()
  }, GUARD_AFTER_MS).unref()
}
