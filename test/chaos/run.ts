// npm run chaos: bounded random trees against the built package.
// --rounds N --backend NAME --seed N (one round) --from N (first of the rounds) --streams K (so many side by side)
import { readdirSync, readlinkSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { runChild } from '../../scripts/dev/child.ts'
import { whyStale } from '../../scripts/dev/stamp.ts'
import type { SpawnMethod } from '../../src/index.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    backend: { type: 'string', multiple: true, default: ['spawn', 'fork', 'thread'] },
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    depth: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '3600' },
    streams: { type: 'string', default: '1' },
  },
})
const backends = values.backend as SpawnMethod[]
const rounds = values.seed === undefined ? Number(values.rounds) : 1
const streams = Math.min(Number(values.streams), rounds)
/** A round's seed from its number: neighbours must not look alike. */
const SPREAD = 2_654_435
/** What the first rounds open stays: pools, modules, sockets of the loop. */
const WARM_UP = 5
/** A thread's end and a closed socket take a moment to show in /proc. */
const FD_SLACK = 2

const stale = whyStale()
if (stale) throw new Error(stale)
process.exitCode = (streams > 1 ? await sideBySide() : await oneByOne()) > 0 ? 1 : 0
process.exit()

async function sideBySide(): Promise<number> {
  const share = Math.ceil(rounds / streams)
  const runs = Array.from({ length: streams }, async (_, i): Promise<number> => {
    const from = Number(values.from) + i * share
    const count = Math.min(share, rounds - i * share)
    const args = ['--rounds', String(count), '--from', String(from), '--depth', values.depth]
    for (const backend of backends) args.push('--backend', backend)
    const run = await runChild(process.execPath, [import.meta.filename, ...args, '--seconds', values.seconds], {
      cwd: process.cwd(),
      limitMs: 1000 * Number(values.seconds) + 120_000,
    })
    for (const { pid, command } of run.survivors) console.log(`left behind: ${pid} ${command}`)
    console.log(run.output.trimEnd())
    return run.code === 0 && run.survivors.length === 0 ? 0 : 1
  })
  return (await Promise.all(runs)).reduce((sum, bad) => sum + bad, 0)
}

async function oneByOne(): Promise<number> {
  const { chaosRound, Fatal } = await import('./round.ts')
  const until = performance.now() + 1000 * Number(values.seconds)
  let failed = 0
  for (const backend of backends) {
    const harms = new Map<string, number[]>()
    let before: Held | undefined
    let done = 0
    for (let i = 0; i < rounds && performance.now() < until; i++) {
      const seed = values.seed === undefined ? (Number(values.from) + i) * SPREAD : Number(values.seed)
      try {
        const round = await chaosRound(seed, backend, Number(values.depth))
        harms.set(round.harm, [...(harms.get(round.harm) ?? []), round.ms])
        done++
      } catch (error) {
        failed++
        console.log(
          `FAILED: npm run chaos -- --backend ${backend} --seed ${seed}\n${error instanceof Error ? error.stack : String(error)}`,
        )
        if (error instanceof Fatal) break
      }
      if (i === WARM_UP) before = held()
    }
    const after = held()
    if (before && (after.fds > before.fds + FD_SLACK || after.threads > before.threads)) {
      failed++
      console.log(
        `FAILED: ${backend} grows: ${JSON.stringify(before)} after ${WARM_UP + 1} rounds, now ${JSON.stringify(after)}`,
      )
    }
    const kinds = [...harms].map(([harm, all]) => `${harm} ${all.length} (median ${median(all)} ms)`).join(', ')
    const longest = Math.max(0, ...[...harms.values()].flat())
    console.log(`${backend}: ${done} rounds well, longest ${longest} ms; ${kinds}`)
  }
  console.log(`${failed} failed`)
  return failed
}

interface Held {
  fds: number
  threads: number
  kinds: Record<string, number>
}

/** What this process holds; the same after each round, or something is never given back. */
function held(): Held {
  const kinds: Record<string, number> = {}
  let fds = 0
  try {
    for (const fd of readdirSync('/proc/self/fd')) {
      try {
        const kind = readlinkSync(`/proc/self/fd/${fd}`).split(':', 1)[0] as string
        kinds[kind] = (kinds[kind] ?? 0) + 1
        fds++
      } catch {
        // The one that lists them.
      }
    }
    return { fds, threads: readdirSync('/proc/self/task').length, kinds }
  } catch {
    return { fds: 0, threads: 0, kinds }
  }
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
