/** What a file takes and what it imports from packages: for the pool `zygote`, which learns from it. */

export interface Measured {
  /** Milliseconds. */
  cpuMs: number
  wallMs: number
  /** Modules in node_modules that were imported by the user's code, with what they import; the slowest first. */
  imports: [path: string, ms: number][]
}

const MOST_IMPORTS = 40
const now = performance.now.bind(performance)
const cpuUsage = process.cpuUsage.bind(process)
/** Of vitest itself nothing need be learned. */
const PACKAGE = /\/node_modules\/(?!vitest\/|@vitest\/|harrow\/)/

/** @returns what has passed since the last call */
export function startMeasuring(): () => Measured {
  let since = now()
  let cpu = cpuUsage()
  return () => {
    const { user, system } = cpuUsage(cpu)
    const wallMs = Math.round(now() - since)
    since = now()
    cpu = cpuUsage()
    return { cpuMs: Math.round((user + system) / 1000), wallMs, imports: imports() }
  }
}

/** vitest notes for each module how long its evaluation took (`moduleExecutionInfo` of its worker state, vitest 5). */
function imports(): [string, number][] {
  const { moduleExecutionInfo } = ((globalThis as Record<string, unknown>).__vitest_worker__ ?? {}) as {
    moduleExecutionInfo?: Map<string, { duration?: number; external?: boolean }>
  }
  if (!(moduleExecutionInfo instanceof Map)) return []
  return [...moduleExecutionInfo]
    .filter(([path, { external }]) => external === true && PACKAGE.test(path))
    .map(([path, { duration = 0 }]): [string, number] => [path, Math.round(duration * 10) / 10])
    .sort(([, a], [, b]) => b - a)
    .slice(0, MOST_IMPORTS)
}
