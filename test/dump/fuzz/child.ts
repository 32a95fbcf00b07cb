/** Runs the cases in a process of its own and tells its progress on stdout, one JSON line each time. */
import { makeSeeds, runCase } from './cases.ts'

const [seed = 0, first = 0, cases = 0] = process.argv.slice(2).map(Number)
const seeds = makeSeeds()
const counts: Record<string, { taken: number; refused: number }> = {}
let slowest = { ms: 0, number: -1, kind: '' }
for (let number = first; number < first + cases; number++) {
  // Before the case, so that whoever watches knows which one does not end.
  if (number % 20 === 0 || number === first) process.stdout.write(`${JSON.stringify({ number })}\n`)
  const began = performance.now()
  const { kind, outcome } = runCase(seeds, seed, number)
  const ms = performance.now() - began
  if (ms > slowest.ms) slowest = { ms, number, kind }
  counts[kind] ??= { taken: 0, refused: 0 }
  counts[kind][outcome]++
}
const peakMb = process.resourceUsage().maxRSS / 1024
process.stdout.write(`${JSON.stringify({ done: cases, counts, slowest, peakMb })}\n`)
