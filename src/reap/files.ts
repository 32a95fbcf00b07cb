/** Files that runs leave behind: temp roots, unix sockets, shared memory. What a sweep of them answers. */

/** A file or folder, and why it was removed or kept; the reason is a sentence about it. */
export interface SweptFile {
  path: string
  reason: string
}

/** What a sweep did, or would do in a dry run. */
export interface Swept {
  removed: SweptFile[]
  /** What was a candidate and is still there. */
  kept: SweptFile[]
}

export { sweepRuntimeDir } from './left-by-actors.ts'
export { shmName, sweepShm } from './shm.ts'
export { socketName, sweepSockets } from './sockets.ts'
export {
  listTempRoots,
  makeTempRoot,
  OWNER_FILE,
  removeTempRoot,
  sweepTemp,
  type TempOwner,
  type TempRoot,
} from './temp.ts'
