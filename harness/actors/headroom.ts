/** How much slower than at its best this machine is just now. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const SYSFS = '/sys/devices/system/cpu'
const MOST = 4
const CI_FACTOR = 2

/**
 * A factor for deadlines: how far the clock of the CPUs is limited below their best, twice that in CI; from 1 to 4 before
 * that. Where the system does not tell, the limit counts as none.
 *
 * @param folder for tests
 * @example
 * ```ts
 * import { cpuHeadroom } from 'harrow/vitest'
 *
 * const limitMs = 3000 * cpuHeadroom()
 * ```
 */
export function cpuHeadroom(folder = SYSFS, ci = Boolean(process.env.CI)): number {
  const shares = cpus(folder).flatMap((cpu) => {
    const [limit, best] = ['scaling_max_freq', 'cpuinfo_max_freq'].map((name) =>
      number(join(folder, cpu, 'cpufreq', name)),
    )
    return limit && best ? [limit / best] : []
  })
  const worst = Math.min(1, ...shares)
  const factor = worst > 0 ? Math.min(MOST, 1 / worst) : MOST
  return ci ? factor * CI_FACTOR : factor
}

function cpus(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^cpu\d+$/.test(name))
  } catch {
    return []
  }
}

function number(path: string): number | undefined {
  try {
    const value = Number(readFileSync(path, 'utf8'))
    return Number.isFinite(value) && value > 0 ? value : undefined
  } catch {
    return undefined
  }
}
