/** Runs the fuzzer's cases in a child with little memory, watched from outside. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface FuzzReport {
  seed: number
  cases: number
  counts: Record<string, { taken: number; refused: number }>
  slowest: { ms: number; number: number; kind: string }
  /** Most memory of the process at any time, with Node.js itself and the seeds, in MB. */
  peakMb: number
}

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))
/** Heap of the child in MB; its tables lie outside of it. */
const HEAP_MB = 224

/**
 * @param stallMs a child that has not finished 20 cases in this time hangs
 * @throws when a case ends in anything but harrow's own errors, hangs, or takes the process down; the message names it
 */
export async function fuzzDumps(options: {
  cases: number
  seed: number
  first?: number
  stallMs?: number
}): Promise<FuzzReport> {
  const { cases, seed, first = 0, stallMs = 60_000 } = options
  const child = spawn(
    process.execPath,
    [
      '--experimental-strip-types',
      '--no-warnings',
      `--max-old-space-size=${HEAP_MB}`,
      CHILD,
      ...[seed, first, cases].map(String),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-8000)
  })
  let at = -1
  let stalled = false
  let report: Omit<FuzzReport, 'seed' | 'cases'> | undefined
  const stall = (): void => {
    stalled = true
    child.kill('SIGKILL')
  }
  let timer = setTimeout(stall, stallMs)
  createInterface({ input: child.stdout }).on('line', (line) => {
    clearTimeout(timer)
    timer = setTimeout(stall, stallMs)
    const told = JSON.parse(line)
    if ('done' in told) report = told
    else at = told.number
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  clearTimeout(timer)
  if (stalled) throw new Error(`seed ${seed}: a case from ${at} to ${at + 19} hangs`)
  if (code !== 0 || report === undefined) {
    throw new Error(`seed ${seed}, cases ${at} to ${at + 19}: ended with ${signal ?? code}\n${errors}`)
  }
  return { seed, cases, counts: report.counts, slowest: report.slowest, peakMb: Math.round(report.peakMb) }
}
