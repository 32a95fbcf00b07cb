// npm run bench:zygote: start to first reply of a forked actor beside its peers and the limits (fork servers in C and
// in Node, whose child writes one byte), and the memory of idle actors. Each way once a round, in an order that turns. --rounds N --modules N --only start|crowd --actors N
// (how many are alive at once in the crowd)
import { execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { build } from '../../scripts/dev/build.ts'
import { root } from '../../scripts/dev/checkout.ts'
import { type Crowd, crowd, pssKiB } from './crowd.ts'
import { median, range, table } from './table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    modules: { type: 'string', default: '300' },
    actors: { type: 'string', default: '1000' },
    only: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
if (!build()) process.exit(1)
const harrow = (await import(join(root, 'dist/src/index.js'))) as typeof import('../../src/index.ts')
const folder = mkdtempSync(join(tmpdir(), 'hrwz-'))

type Way = () => Promise<number>

/** Of each module, as in the kit that the goals were measured with: 300 of them are 5 MB. */
const MODULE_BYTES = 17_000

/** A module that imports so many others, with classes, functions and tables, and answers. */
function makeModules(count: number): string {
  const place = join(folder, `m${count}`)
  mkdirSync(place)
  const body = (i: number): string => {
    let text = `export const at = ${i}\n`
    for (let k = 0; text.length < MODULE_BYTES; k++) {
      text += `export class C${k} { #v = ${i * k}; name() { return 'c${k}' } add(a, b) { let s = this.#v; for (let n = 0; n < a; n++) s = (s * 31 + b * n) | 0; return { s, tag: \`\${a}-\${b}\` } } }
export function f${k}(x, y = ${k}) { const t = [x, y, 'k${i}']; return t.map((v, n) => typeof v === 'number' ? v * ${k} + n : String(v) + n).join(':') }\n`
      if (k % 4 === 0)
        text += `export const t${k} = { a: ${i}, b: '${'x'.repeat(30)}', c: [${Array.from({ length: 12 }, (_, n) => i * n)}], d: f${k}(${k}) }\n`
    }
    return text
  }
  for (let i = 0; i < count; i++) writeFileSync(join(place, `m${i}.mjs`), body(i))
  const imports = Array.from({ length: count }, (_, i) => `import { at as a${i} } from './m${i}.mjs'`).join('\n')
  const echo = 'export async function echo(value) { return value }'
  writeFileSync(join(place, 'tasks.mjs'), `${imports}\n${echo}\n`)
  writeFileSync(
    join(place, 'bare.mjs'),
    `import { isMainThread, parentPort } from 'node:worker_threads'
import { echo } from './tasks.mjs'
if (isMainThread) process.on('message', async (value) => process.send(await echo(value)))
else parentPort.on('message', async (value) => parentPort.postMessage(await echo(value)))\n`,
  )
  return place
}

async function interleave(ways: Record<string, Way>): Promise<Record<string, number[]>> {
  const names = Object.keys(ways)
  const found: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + Math.max(0, round)) % names.length]!
      const figure = await ways[name]!()
      if (round >= 0) found[name]!.push(figure)
    }
  }
  return found
}

interface ForkServer {
  way: Way
  end(): void
}

/** undefined where there is no C compiler. */
async function forkServer(mib: number): Promise<ForkServer | undefined> {
  const program = join(folder, 'fork-server')
  try {
    execFileSync('cc', ['-O2', '-o', program, fileURLToPath(new URL('./fork-server.c', import.meta.url))])
  } catch {
    return undefined
  }
  return await served(program, [String(mib)])
}

/** The same of Node, which has loaded a module. */
function bareFork(module: string): Promise<ForkServer> {
  const script = fileURLToPath(new URL('./bare-fork.ts', import.meta.url))
  return served(process.execPath, ['--no-warnings', '--single-threaded', script, module])
}

async function served(program: string, args: string[]): Promise<ForkServer> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe'] })
  const ask = child.stdio[3] as Writable
  const answers = child.stdio[4] as Readable
  await once(answers, 'data')
  return {
    way: async () => {
      const began = performance.now()
      ask.write('x')
      await once(answers, 'data')
      return performance.now() - began
    },
    end: () => child.kill('SIGKILL'),
  }
}

const bareProcess =
  (module: string): Way =>
  async () => {
    const began = performance.now()
    const child = fork(module, [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    child.send(1)
    await once(child, 'message')
    const ms = performance.now() - began
    child.kill('SIGKILL')
    await once(child, 'exit')
    return ms
  }

const bareThread =
  (module: string): Way =>
  async () => {
    const began = performance.now()
    const worker = new Worker(module)
    worker.postMessage(1)
    await once(worker, 'message')
    const ms = performance.now() - began
    await worker.terminate()
    return ms
  }

async function crowds(actors: number): Promise<void> {
  const options = {
    harrow,
    actors,
    module: `file://${join(makeModules(0), 'tasks.mjs')}`,
    spawnMethod: 'zygote' as const,
    spawnOpts: { fallback: false },
  }
  await harrow.openRoot({ registryAddrs: [`unix:${folder}/c.sock`], logLevel: 'silent' }, async () => {
    const rows: [string, Crowd][] = []
    for (const how of ['cancel', 'SIGKILL'] as const) rows.push([how, await crowd(options, how)])
    console.log(`\n### ${actors} actors alive at once, Node ${process.version}`)
    table(
      ['ended by', 'started ms', 'a call to each ms', 'PSS MiB', 'memory taken MiB', 'until all are collected ms'],
      rows.map(([how, { upMs, callMs, pssMiB, takenMiB, endMs }]) => [
        how,
        ...[upMs, callMs, pssMiB, takenMiB, endMs].map((value) => value.toFixed(0)),
      ]),
    )
  })
}

try {
  if (values.only === 'crowd') await crowds(Number(values.actors))
  for (const count of values.only === 'crowd' ? [] : [0, Number(values.modules)]) {
    const place = makeModules(count)
    const module = `file://${join(place, 'tasks.mjs')}`
    await harrow.openRoot({ registryAddrs: [`unix:${folder}/r${count}.sock`], logLevel: 'silent' }, async () => {
      const start =
        (spawnMethod: 'spawn' | 'zygote', spawnOpts: Record<string, unknown>): Way =>
        () =>
          harrow.openNursery(async (an) => {
            const began = performance.now()
            const portal = await an.startActor<{ echo(value: number): Promise<number> }>('s', {
              module,
              spawnMethod,
              spawnOpts,
            })
            await portal.call('echo', 1)
            const ms = performance.now() - began
            await an.cancel()
            return ms
          })
      const limit = await forkServer(60)
      const bare = await bareFork(module)
      const warmed = { warm: [module], fallback: false }
      const found = await interleave({
        ...(limit && { 'fork server in C (60 MiB)': limit.way }),
        'bare fork of Node, one byte': bare.way,
        'child_process.fork': bareProcess(join(place, 'bare.mjs')),
        Worker: bareThread(join(place, 'bare.mjs')),
        'harrow spawn': start('spawn', {}),
        'harrow zygote': start('zygote', warmed),
      })
      limit?.end()
      bare.end()
      const base = median(found['harrow zygote']!)
      console.log(`\n### start to first reply, ${count} modules, ${rounds} rounds, Node ${process.version}`)
      table(
        ['way', 'median ms', 'range', 'x zygote'],
        Object.entries(found).map(([name, all]) => [
          name,
          median(all).toFixed(1),
          range(all, 1),
          (median(all) / base).toFixed(2),
        ]),
      )
      const IDLE = 10
      for (const [spawnMethod, spawnOpts] of [
        ['spawn', {}],
        ['zygote', warmed],
      ] as const) {
        await harrow.openNursery(async (an) => {
          for (let i = 0; i < IDLE; i++) {
            const portal = await an.startActor<{ echo(value: number): Promise<number> }>('s', {
              module,
              spawnMethod,
              spawnOpts,
            })
            await portal.call('echo', 1)
          }
          const pss = [...an.children.values()].map(({ handle }) => pssKiB(handle!.pid!) / 1024)
          console.log(`PSS of ${IDLE} idle actors of ${spawnMethod}: median ${median(pss).toFixed(1)} MiB`)
          await an.cancel()
        })
      }
    })
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
