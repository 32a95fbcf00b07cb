/** How much of the CPU this process may have, and how much it really gets. Linux; elsewhere only the load. */
import { availableParallelism, loadavg } from 'node:os'
import { pause } from './clean.ts'
import { readText } from './procfs.ts'

export interface CpuSupply {
  /** CPUs that this process may use, by affinity. */
  cores: number
  /** CPUs' worth of time that its control groups grant; null when they set no limit or cannot be read. */
  quota: number | null
  /** Share of the periods in which the control group had used up its time, 0 to 1; null without a quota. */
  throttled: number | null
  /** The same while we looked. */
  throttledNow: number | null
  /** Runnable processes of the machine, mean over a minute. */
  load: number
}

interface Periods {
  all: number
  throttled: number
}

/**
 * Looks at the limits of the control group (v2 `cpu.max`, `cpu.stat`; v1 `cpu.cfs_quota_us`) and at the load.
 *
 * @param sampleMs time over which throttling is watched, milliseconds
 */
export async function cpuSupply(sampleMs = 200): Promise<CpuSupply> {
  const folders = controlGroups()
  const quotas = folders.flatMap((folder) => readQuota(folder) ?? [])
  const quota = quotas.length === 0 ? null : Math.min(...quotas)
  const supply: CpuSupply = {
    cores: availableParallelism(),
    quota,
    throttled: null,
    throttledNow: null,
    load: loadavg()[0] ?? 0,
  }
  if (quota === null) return supply
  const before = folders.map(readPeriods)
  await pause(sampleMs)
  const after = folders.map(readPeriods)
  const share = ({ all, throttled }: Periods): number => (all > 0 ? throttled / all : 0)
  supply.throttled = Math.max(...after.map(share))
  supply.throttledNow = Math.max(
    ...after.map((last, index) => {
      const first = before[index]!
      return share({ all: last.all - first.all, throttled: last.throttled - first.throttled })
    }),
  )
  return supply
}

/** Folders of the control group of this process and of all above it, innermost first. A container may show them at `/`. */
function controlGroups(): string[] {
  const folders = new Set<string>()
  for (const line of (readText('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    const version2 = controllers === ''
    if (!version2 && !controllers.split(',').includes('cpu')) continue
    for (const root of version2
      ? ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
      : ['/sys/fs/cgroup/cpu', `/sys/fs/cgroup/${controllers}`]) {
      const parts = path.split('/').filter((part) => part !== '' && part !== '..')
      for (let length = parts.length; length >= 0; length--) folders.add([root, ...parts.slice(0, length)].join('/'))
    }
  }
  return [...folders]
}

function readQuota(folder: string): number | undefined {
  const [quota, period] = readText(`${folder}/cpu.max`)?.trim().split(' ') ?? [
    readText(`${folder}/cpu.cfs_quota_us`)?.trim(),
    readText(`${folder}/cpu.cfs_period_us`)?.trim(),
  ]
  // `max` in version 2, -1 in version 1: no limit.
  const share = Number(quota) / Number(period)
  return Number.isFinite(share) && share > 0 ? share : undefined
}

function readPeriods(folder: string): Periods {
  const text = readText(`${folder}/cpu.stat`) ?? ''
  const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
  return { all: value('nr_periods'), throttled: value('nr_throttled') }
}
