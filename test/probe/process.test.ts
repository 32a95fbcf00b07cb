import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from 'vitest'
import { renderDump } from '../../src/dump/render.ts'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { attachProcess } from '../../src/inspect/attach-process.ts'
import { findInspectorUrl } from '../../src/inspect/inspector-url.ts'
import { descendantPids } from '../../src/process/tree.ts'
import { dumpOf, endAll, FREE_PORT, isSignalPending, start, startNode } from './target.ts'

const LINUX = process.platform === 'linux'
const LIMIT = 60_000

afterEach(endAll)

/** Also what a reader of the file would get. */
function textOf(record: Parameters<typeof renderDump>[0]): string {
  return renderDump(parseDumpRecord(JSON.parse(JSON.stringify(record))))
}

describe('a process that was not prepared', () => {
  test(
    'that serves and idles: is told so, with what keeps it alive, and goes on with its inspector closed',
    async () => {
      const { pid, said: port } = await start('server.mjs')
      const record = await dumpOf(pid)
      expect(record.verdict).toMatchObject({ class: 'idle', confidence: 'certain' })
      expect(record.verdict.diagnosis).toContain(`Server 127.0.0.1:${port}`)
      expect(record.header).toMatchObject({
        phase: 'program',
        test: null,
        pid,
        program: { inspector: 'closed', state: expect.stringMatching(/^[RS]$/) },
      })
      expect(record.actors[0]?.resources).toContainEqual(
        expect.objectContaining({ type: 'Server', ref: true, what: `127.0.0.1:${port}` }),
      )
      expect(textOf(record)).toMatch(/^harrow process dump, format 1\nprocess: +\d+ .*server\.mjs\n/)
      expect(await findInspectorUrl(pid)).toBeUndefined()
      const [response] = await once(get(`http://127.0.0.1:${port}/`), 'response')
      expect(await text(response)).toBe('well')
    },
    LIMIT,
  )

  test(
    'that spins: the very line with its locals, and it spins on',
    async () => {
      const { pid, child } = await start('spin.mjs')
      const record = await dumpOf(pid)
      expect(record.verdict).toMatchObject({ class: 'event-loop-blocked', variant: 'js' })
      expect(record.verdict.culprit).toMatchObject({
        path: expect.stringMatching(/spin\.mjs$/),
        line: expect.toBeOneOf([2, 3]),
      })
      expect(record.actors[0]?.syncStack?.[0]).toMatchObject({ fn: 'search', locals: { wanted: '4' } })
      expect(child.exitCode).toBeNull()
      expect(await findInspectorUrl(pid)).toBeUndefined()
      expect((await dumpOf(pid)).verdict.class).toBe('event-loop-blocked')
    },
    LIMIT,
  )

  test.runIf(LINUX)(
    'in a system call: the words of the kernel, and no signal that would open its inspector later',
    async () => {
      const { pid } = await start('exec.mjs')
      await expect.poll(() => descendantPids(pid), { timeout: 10_000 }).toHaveLength(1)
      const record = await dumpOf(pid)
      expect(record.verdict).toMatchObject({ class: 'event-loop-blocked', variant: 'syscall' })
      expect(record.verdict.diagnosis).toMatch(/inside spawnSync.* waiting for child \d+ `sleep 60`/)
      expect(record.header.program?.notAttached).toContain('system call')
      expect(record.processes.map(({ command }) => command)).toContain('sleep 60')
      expect(isSignalPending(pid)).toBe(false)
      expect(textOf(record)).toContain('inside:      not seen: its main thread is in a system call')
    },
    LIMIT,
  )

  test(
    'with 5,000 suspended functions: equal ones are one line with their number',
    async () => {
      const { pid } = await start('many.mjs')
      const record = await dumpOf(pid)
      expect(record.verdict.class).toBe('waiting')
      const dump = textOf(record)
      expect(dump).toMatch(/5000x request {2}\S*many\.mjs:11:\d+ .*\n.*5000x reply {2}\S*many\.mjs:6:\d+ /)
      expect(dump).toMatch(/waits in EventEmitter\._events\.reply/)
      expect(dump.split('\n').length).toBeLessThan(60)
    },
    LIMIT,
  )

  test(
    'with worker threads: each has its own stack and its own suspended functions',
    async () => {
      const { pid } = await start('threads.mjs')
      const record = await dumpOf(pid)
      expect(record.actors.map(({ path }) => path)).toEqual(['main', 'worker 1 "spinner"', 'worker 2 "runner"'])
      const [, spinner, runner] = record.actors
      expect(spinner?.syncStack?.[0]).toMatchObject({ fn: 'turn', source: 'for (;;) {}', user: true })
      expect(runner?.awaits?.find(({ fn }) => fn === 'job')).toMatchObject({
        source: "await once(parentPort, 'message')",
        site: { line: 4 },
      })
      expect(record.verdict.diagnosis).toContain('worker 1 "spinner" keeps its thread busy at `for (;;) {}`')
      // The main thread only holds its workers.
      expect(record.verdict).toMatchObject({ class: 'waiting', culprit: { line: 4 } })
      expect(record.verdict.diagnosis).toContain(
        '1 function of worker 2 "runner" is suspended: `await once(parentPort, \'message\')`',
      )
    },
    LIMIT,
  )

  test.runIf(LINUX)('that is not Node: what the kernel says, and nothing of an event loop', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    try {
      const { verdict } = await dumpOf(child.pid!)
      expect(verdict).toMatchObject({ class: 'unknown', confidence: 'guess' })
      expect(verdict.diagnosis).toMatch(/it is no Node process; its main thread is blocked in \w+\(2\)/)
      expect(JSON.stringify(verdict)).not.toMatch(/JavaScript|event loop|asynchronous form/)
    } finally {
      child.kill('SIGKILL')
    }
  })

  test(
    'that ends in the middle: what was seen until then comes out, and that it ended',
    async () => {
      const { pid, child } = await start('many.mjs')
      const ended = once(child, 'exit')
      const record = await dumpOf(pid, {
        step: (name) => {
          if (name === 'heap') child.kill('SIGKILL')
        },
      })
      await ended
      expect(record.capture.missing).toContain('the process ended while it was looked at')
      expect(record.actors[0]?.resources.length).toBeGreaterThan(0)
      expect(textOf(record)).toContain('== capture notes ==')
    },
    LIMIT,
  )

  test.runIf(LINUX)(
    'that is stopped, and one that is not Node: are not signalled',
    async () => {
      const { pid, child } = await start('server.mjs')
      child.kill('SIGSTOP')
      await expect.poll(async () => (await dumpOf(pid)).header.program?.state, { timeout: 20_000 }).toBe('T')
      expect((await dumpOf(pid)).verdict).toMatchObject({
        class: 'stopped',
        confidence: 'certain',
        hint: `kill -CONT ${pid}`,
      })
      expect(isSignalPending(pid)).toBe(false)
      const other = await startNode([
        '-e',
        'require("child_process").spawn("sleep", ["60"], { stdio: "ignore" }); console.log(1)',
      ])
      const [sleeper = 0] = descendantPids(other.pid)
      const record = await dumpOf(sleeper)
      process.kill(sleeper, 'SIGKILL')
      expect(record.header.program?.notAttached).toBe('it is no Node process')
      expect(record.actors[0]?.kernel?.join()).toMatch(/nanosleep|futex|blocked/)
    },
    LIMIT,
  )
})

describe('a process with an inspector', () => {
  test.runIf(LINUX)(
    'that does not open because of a SIGUSR1 listener of its own: is told from outside',
    async () => {
      const deaf = await startNode([
        FREE_PORT,
        '-e',
        'process.on("SIGUSR1", () => {}); setInterval(() => {}, 1000); console.log(1)',
      ])
      const record = await dumpOf(deaf.pid)
      expect(record.header.program?.notAttached).toContain('it may have a SIGUSR1 listener of its own')
      expect(record.capture.missing?.join()).toContain('it was sent SIGUSR1')
      expect(record.verdict.diagnosis).toContain('idle in its event loop')
      expect(deaf.child.exitCode).toBeNull()
    },
    LIMIT,
  )

  test(
    'that was open before, stays open',
    async () => {
      const { pid } = await start('server.mjs', ['--inspect=127.0.0.1:0'])
      const record = await dumpOf(pid)
      expect(record.header.program?.inspector).toBe('open')
      expect(record.verdict.class).toBe('idle')
      expect(await findInspectorUrl(pid)).toMatch(/^ws:/)
    },
    LIMIT,
  )

  test.runIf(LINUX)(
    'and a debugger at it: is read beside it, and the debugger goes on',
    async () => {
      const { pid } = await start('server.mjs', ['--inspect=127.0.0.1:0'])
      const other = await attachProcess(pid, { openOnly: true, deadlineMs: 5000 })
      try {
        await other.post('Debugger.enable')
        const record = await dumpOf(pid)
        expect(record.header.program?.inspector).toBe('debugger')
        expect(record.verdict.class).toBe('idle')
        const { result } = (await other.post('Runtime.evaluate', { expression: '6 * 7' })) as {
          result: { value: number }
        }
        expect(result.value).toBe(42)
      } finally {
        await other.close()
      }
    },
    LIMIT,
  )

  test.runIf(LINUX)(
    'and a debugger that holds it at a line: the line is told, and it is held on',
    async () => {
      const { pid } = await startNode([
        '--inspect=127.0.0.1:0',
        '-e',
        'console.log(1)\nfunction tick() { globalThis.n = (globalThis.n ?? 0) + 1; debugger }\nsetInterval(tick, 10)',
      ])
      const other = await attachProcess(pid, { openOnly: true, deadlineMs: 5000 })
      const count = async (): Promise<unknown> =>
        ((await other.post('Runtime.evaluate', { expression: 'globalThis.n' })) as { result: { value?: unknown } })
          .result.value
      try {
        const paused = new Promise((resolve) => other.on('Debugger.paused', resolve))
        await other.post('Debugger.enable')
        await paused
        const before = await count()
        const record = await dumpOf(pid)
        expect(record.verdict).toMatchObject({ class: 'stopped', variant: 'debugger' })
        expect(record.actors[0]?.syncStack?.some(({ fn }) => fn === 'tick')).toBe(true)
        expect(await count()).toBe(before)
        const resumed = new Promise((resolve) => other.on('Debugger.resumed', resolve))
        await other.post('Debugger.resume')
        await resumed
        await expect.poll(count, { timeout: 5000 }).not.toBe(before)
      } finally {
        await other.close()
      }
    },
    LIMIT,
  )

  test.runIf(LINUX)(
    'that another client comes to meanwhile: stays open for it',
    async () => {
      const { pid } = await start('server.mjs')
      const mine = await attachProcess(pid, { deadlineMs: 5000 })
      const other = await attachProcess(pid, { openOnly: true, deadlineMs: 5000 })
      await mine.close()
      expect(mine.leftOpen()).toBe(true)
      expect(await other.post('Runtime.evaluate', { expression: '1' })).toMatchObject({ result: { value: 1 } })
      await other.close()
      expect(await findInspectorUrl(pid)).toMatch(/^ws:/)
    },
    LIMIT,
  )

  test.runIf(LINUX)(
    'is not looked for among the ports of the program itself',
    async () => {
      const { pid, said: port } = await startNode([
        '-e',
        'const s = require("http").createServer((q, r) => { console.log("asked"); r.end() }).listen(0, "127.0.0.1", () => console.log(s.address().port))',
      ])
      expect(Number(port)).toBeGreaterThan(0)
      expect(await findInspectorUrl(pid)).toBeUndefined()
      const [response] = await once(get(`http://127.0.0.1:${port}/`), 'response')
      response.resume()
    },
    LIMIT,
  )
})
