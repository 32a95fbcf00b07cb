import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { binOf } from '../../scripts/dev/checkout.ts'
import { renderDump } from '../../src/dump/render.ts'
import { readCommand } from '../../src/process/procfs.ts'
import { descendantPids } from '../../src/process/tree.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'
import { dumpOf, FREE_PORT } from './target.ts'

const ended: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end()
})

const files = {
  'vitest.config.ts': `import { defineConfig } from 'vitest/config'
export default defineConfig({ test: { pool: 'forks', execArgv: ['${FREE_PORT}'] } })
`,
  'pool.ts': `interface Conn {
  id: number
}

export class Pool {
  readonly #free: Conn[] = [{ id: 1 }]
  readonly waiting: ((conn: Conn) => void)[] = []

  async acquire(): Promise<Conn> {
    const conn = this.#free.pop()
    if (conn !== undefined) return conn
    return await new Promise<Conn>((resolve) => this.waiting.push(resolve))
  }
}
`,
  'pool.test.ts': `import { writeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Pool } from './pool.ts'

const pool = new Pool()

test('asks twice', async () => {
  await pool.acquire()
  writeSync(2, 'it hangs')
  expect(await pool.acquire()).toBeDefined()
}, 0)
`,
}

/** A run of vitest that knows nothing of harrow, when its test hangs; answers with the pid of the worker. */
async function hangingRun(project: Project): Promise<number> {
  const child = spawn(process.execPath, [binOf('vitest'), 'run'], {
    cwd: project.folder,
    env: cleanEnv(),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exit = once(child, 'exit')
  ended.push(async () => {
    const below = descendantPids(child.pid!)
    for (const pid of [child.pid!, ...below]) process.kill(pid, 'SIGKILL')
    await exit
  })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  await expect.poll(() => said, { timeout: 60_000, interval: 50 }).toContain('it hangs')
  return descendantPids(child.pid!).find((pid) => readCommand(pid)?.includes(FREE_PORT)) ?? 0
}

test.runIf(process.platform === 'linux')(
  'a test that hangs in a vitest without harrow is told with the lines of its files',
  async () => {
    const project = makeProject(files)
    ended.push(async () => project.remove())
    const record = await dumpOf(await hangingRun(project))
    expect(record.verdict).toMatchObject({ class: 'waiting', culprit: { path: 'pool.ts', line: 12 } })
    const text = renderDump(record)
    expect(text).toMatch(/<anonymous> {2}pool\.test\.ts:10:\d+ {3}expect\(await pool\.acquire\(\)\)\.toBeDefined\(\)/)
    expect(text).toMatch(/acquire {2}pool\.ts:12:\d+ {3}return await new Promise<Conn>/)
    expect(text).toContain('waits in Pool.waiting[0]')
  },
  120_000,
)
