/** Many actors alive at once, and their end: what one crowd takes, beside a crowd alike that is ended by bare SIGKILL. */
import { existsSync, readFileSync } from 'node:fs'
import type * as Harrow from '../../src/index.ts'

export interface CrowdOptions {
  harrow: typeof Harrow
  actors: number
  /** URL of a module with `echo`. */
  module: string
  spawnMethod: 'spawn' | 'zygote'
  spawnOpts: Record<string, unknown>
}

export interface Crowd {
  /** From the first start to the last reply, so many at a time. */
  upMs: number
  /** A call to each at once. */
  callMs: number
  /** Of all actors, by `smaps_rollup`. */
  pssMiB: number
  /** What the system had available less: page tables and what the kernel keeps of a process are in it. */
  takenMiB: number
  /** From `cancel()` of their nursery, or the first SIGKILL, until the last one is collected. */
  endMs: number
}

type Echo = { echo(value: number): Promise<number> }

const AT_A_TIME = 8
/** Less than this is left to the rest of the machine: no crowd is made. */
const SPARE_MIB = 2048
/** More than any backend takes for an idle actor here. */
const MOST_MIB = 10
const LOOK_MS = 5

/** @throws Error when the machine has too little memory for it */
export async function crowd(options: CrowdOptions, how: 'cancel' | 'SIGKILL'): Promise<Crowd> {
  const { harrow, actors, module, spawnMethod, spawnOpts } = options
  const free = availableMiB()
  if (free < actors * MOST_MIB + SPARE_MIB) {
    throw new Error(`${actors} actors may take ${actors * MOST_MIB} MiB, and ${Math.round(free)} are available`)
  }
  let found: Omit<Crowd, 'endMs'> | undefined
  let pids: number[] = []
  let ending = 0
  const start = async (an: Harrow.ActorNursery, n: number): Promise<Harrow.Portal<Echo>> => {
    const portal = await an.startActor<Echo>(`a${n}`, { module, spawnMethod, spawnOpts })
    if ((await portal.call('echo', n)) !== n) throw new Error('another value came back')
    return portal
  }
  await harrow
    .openNursery(async (an) => {
      // The zygote is there, and its modules are loaded.
      await start(an, -1)
      const before = availableMiB()
      const began = performance.now()
      const portals: Harrow.Portal<Echo>[] = []
      let next = 0
      const some = async (): Promise<void> => {
        while (next < actors) portals.push(await start(an, next++))
      }
      await Promise.all(Array.from({ length: AT_A_TIME }, some))
      const upMs = performance.now() - began
      const asked = performance.now()
      await Promise.all(portals.map((portal, n) => portal.call('echo', n)))
      const callMs = performance.now() - asked
      pids = [...an.children.values()].map(({ handle }) => handle!.pid!)
      const pssMiB = pids.reduce((sum, pid) => sum + pssKiB(pid), 0) / 1024
      found = { upMs, callMs, pssMiB, takenMiB: before - availableMiB() }
      ending = performance.now()
      if (how === 'cancel') await an.cancel()
      else for (const pid of pids) process.kill(pid, 'SIGKILL')
    })
    .catch((error: unknown) => {
      if (how === 'cancel' || !found) throw error
    })
  for (const pid of pids) {
    while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  return { ...found!, endMs: performance.now() - ending }
}

const availableMiB = (): number =>
  Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]) / 1024

export const pssKiB = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1])
