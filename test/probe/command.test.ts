import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { findInspectorUrl } from '../../src/inspect/inspector-url.ts'
import { endAll, harrow, start } from './target.ts'

const ROOT = process.getuid?.() === 0
const NOBODY = { uid: 65_534, gid: 65_534 }
const LIMIT = 90_000

const folders: string[] = []
afterEach(async () => {
  await endAll()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

describe('harrow dump', () => {
  test(
    'PID: prints one screen',
    async () => {
      const { pid } = await start('server.mjs')
      const { code, out, err } = await harrow(['dump', String(pid)])
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toMatch(new RegExp(`^harrow process dump, format 1\\nprocess: +${pid} `))
      expect(out.split('\n').length).toBeLessThan(40)
      expect(await findInspectorUrl(pid)).toBeUndefined()
    },
    LIMIT,
  )

  test(
    'PATTERN: lists several that fit and asks for one; --all takes them, --json as a list, --out as files',
    async () => {
      const mark = `mark-${process.pid}-${Date.now()}`
      const [one, other] = [
        await start('server.mjs', [], { args: [mark] }),
        await start('server.mjs', [], { args: [mark] }),
      ]
      const asked = await harrow(['dump', mark])
      expect({ code: asked.code, out: asked.out }).toEqual({ code: 2, out: '' })
      expect(asked.err).toContain('2 processes fit')
      for (const { pid } of [one, other]) expect(asked.err).toContain(String(pid))

      const folder = mkdtempSync(join(tmpdir(), 'harrow-probe-'))
      folders.push(folder)
      const all = await harrow(['dump', `server.*${mark}`, '--all', '--out', folder])
      expect(all.code, all.err).toBe(0)
      const paths = all.out.trim().split('\n')
      expect(paths).toHaveLength(4)
      expect(readdirSync(folder)).toHaveLength(4)
      for (const path of paths) expect(statSync(path).mode & 0o777).toBe(0o600)
      const json = paths.find((path) => path.endsWith('.json')) as string
      expect(parseDumpRecord(JSON.parse(readFileSync(json, 'utf8'))).header.program).toBeDefined()
      const again = await harrow(['dump', json])
      expect(again).toEqual({ code: 0, err: '', out: readFileSync(json.replace(/json$/, 'txt'), 'utf8') })
    },
    LIMIT,
  )

  test(
    '--tree: also the Node processes below',
    async () => {
      const { pid, said } = await start('parent.mjs')
      const { code, out } = await harrow(['dump', String(pid), '--tree', '--json'])
      expect(code).toBe(0)
      const records = (JSON.parse(out) as unknown[]).map(parseDumpRecord)
      expect(records.map(({ header }) => header.pid)).toEqual([pid, Number(said)])
      process.kill(Number(said), 'SIGKILL')
    },
    LIMIT,
  )

  test(
    '--no-signal: does not open what is closed',
    async () => {
      const { pid } = await start('server.mjs')
      const { code, out } = await harrow(['dump', String(pid), '--no-signal'])
      expect(code).toBe(0)
      expect(out).toContain('it was not to be signalled (--no-signal)')
      expect(out).toContain('main thread is idle in its event loop')
    },
    LIMIT,
  )

  test.runIf(process.platform === 'linux')(
    'a dump that cannot be written ends with 1, one of a zombie with 0',
    async () => {
      // Its child ends only when the shell that would collect it has become another program.
      const child = spawn('sh', ['-c', 'cat <&3 & echo $!; exec sleep 60'], {
        stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
      })
      try {
        const zombie = String((await once(child.stdout!, 'data'))[0]).trim()
        await expect.poll(() => readFileSync(`/proc/${child.pid}/comm`, 'latin1'), { timeout: 10_000 }).toBe('sleep\n')
        child.stdio[3]?.destroy()
        await expect.poll(() => readFileSync(`/proc/${zombie}/stat`, 'latin1'), { timeout: 10_000 }).toContain(') Z ')
        const [unwritten, dumped] = await Promise.all([
          harrow(['dump', String(child.pid), '--out', '/proc/nope']),
          harrow(['dump', zombie]),
        ])
        expect({ code: unwritten.code, out: unwritten.out }).toEqual({ code: 1, out: '' })
        expect(unwritten.err).toMatch(/^harrow: could not write the dump \/proc\/nope\/.*\n$/)
        expect({ code: dumped.code, err: dumped.err }).toEqual({ code: 0, err: '' })
        expect(dumped.out).toContain('is a zombie')
        expect(dumped.out).not.toContain('while it was looked at')
      } finally {
        child.kill('SIGKILL')
      }
    },
    LIMIT,
  )

  test.each<[string, string[], string]>([
    ['no such process', ['2147483647'], 'there is no process 2147483647'],
    // Another run of this very test has a name of its own.
    ['nothing that fits', [`no-process-is-called-${process.pid}`], 'no Node process of yours'],
    ['a pid out of range', ['99999999999'], 'PID expects a whole number'],
    ['an empty pattern', [''], 'got an empty text'],
  ])('refuses %s with exit code 2', async (_name, args, words) => {
    const { code, out, err } = await harrow(['dump', ...args])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(words)
  })

  test.runIf(ROOT)(
    "another user's process is refused, one's own is not",
    async () => {
      const { pid } = await start('server.mjs')
      const refused = await harrow(['dump', String(pid)], NOBODY)
      expect({ code: refused.code, out: refused.out }).toEqual({ code: 2, out: '' })
      expect(refused.err).toMatch(new RegExp(`process ${pid} .* belongs to user 0, and you are .*65534`))
      const own = await start('server.mjs', [], NOBODY)
      const dumped = await harrow(['dump', String(own.pid)], NOBODY)
      expect(dumped.code, dumped.err).toBe(0)
      expect(dumped.out).toContain('class:       idle')
    },
    LIMIT,
  )
})
