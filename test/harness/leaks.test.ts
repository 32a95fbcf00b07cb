import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LeakEntry } from '../../src/dump/run-record.ts'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

const files: Record<string, string> = {
  // Each test leaves one thing open, on the line that is marked.
  'kinds.test.ts': `
    import dgram from 'node:dgram'
    import { once } from 'node:events'
    import { mkdtempSync, promises, watch } from 'node:fs'
    import http from 'node:http'
    import net from 'node:net'
    import { tmpdir } from 'node:os'
    import { join } from 'node:path'; import { setInterval as every, setTimeout as sleep } from 'node:timers/promises'
    import { BroadcastChannel, Worker } from 'node:worker_threads'
    import { expect, test } from 'vitest'
    test('interval', () => { setInterval(() => {}, 1000) }) // 12
    test('timeout', () => { setTimeout(() => {}, 60_000) }) // 13
    test('healthy', async () => { await new Promise((resolve) => setTimeout(resolve, 5)) })
    test('tcp server', async () => {
      const server = net.createServer()
      server.listen(0, '127.0.0.1') // 17
      await once(server, 'listening')
    })
    test('socket', async () => {
      const server = net.createServer((socket) => socket.on('close', () => server.close()))
      server.listen(0, '127.0.0.1') // 22
      await once(server, 'listening')
      const socket = net.connect(server.address().port, '127.0.0.1') // 24
      await once(socket, 'connect')
    })
    test('watcher', () => { watch(mkdtempSync(join(tmpdir(), 'harrow-test-watch-'))) }) // 27
    test('worker', async () => {
      const worker = new Worker('require("node:worker_threads").parentPort.on("message", () => {})', { eval: true }) // 29
      await once(worker, 'online')
    })
    test('channel', () => { new BroadcastChannel('harrow-test').onmessage = () => {} }) // 32
    test('udp socket', async () => {
      const socket = dgram.createSocket('udp4')
      socket.bind(0, '127.0.0.1') // 34
      await once(socket, 'listening')
    })
    test('http server with a client', async () => {
      const server = http.createServer((_, res) => res.end('ok'))
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve)) // 40
      expect(await (await fetch('http://127.0.0.1:' + server.address().port)).text()).toBe('ok')
    })
    test('three of a kind', () => { for (let i = 0; i < 3; i++) setInterval(() => {}, 1000) }) // 43
    test('a loop over an interval', () => { void (async () => { for await (const _ of every(50_000)) void _ })() }) // 44
    test('a promise of a timer', async () => { await Promise.race([1, sleep(50_000)]) }) // 45
    test('a loop over a watcher', () => {
      const folder = mkdtempSync(join(tmpdir(), 'harrow-test-watch-'))
      void (async () => { for await (const _ of promises.watch(folder)) void _ })() // 48
    })`,
  'healthy.test.ts': `
    import { once } from 'node:events'
    import { watch, mkdtempSync, promises, rmSync } from 'node:fs'
    import http from 'node:http'
    import { tmpdir } from 'node:os'
    import { join } from 'node:path'; import { setInterval as every, setTimeout as sleep } from 'node:timers/promises'
    import { Worker } from 'node:worker_threads'
    import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
    let shared, lazy
    beforeAll(async () => { shared = http.createServer((_, res) => res.end('ok')).listen(0); await once(shared, 'listening') })
    afterAll(() => { shared.close(); clearInterval(lazy) })
    test('uses a server of the file', async () => {
      expect(await (await fetch('http://127.0.0.1:' + shared.address().port)).text()).toBe('ok')
    })
    test('starts what a hook stops', () => { lazy = setInterval(() => {}, 1000) })
    test('closes its own', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'harrow-test-watch-'))
      const watcher = watch(folder); watcher.close(); rmSync(folder, { recursive: true })
      const worker = new Worker('', { eval: true }); await once(worker, 'exit')
      const timer = setTimeout(() => {}, 60_000); clearTimeout(timer)
    })
    test('leaves its loops', async () => {
      for await (const n of every(1, 7)) { expect(n).toBe(7); break }
      const stop = new AbortController()
      const loop = (async () => { for await (const _ of every(50_000, null, { signal: stop.signal })) void _ })()
      const folder = mkdtempSync(join(tmpdir(), 'harrow-test-watch-'))
      const watching = (async () => { for await (const _ of promises.watch(folder, { signal: stop.signal })) void _ })()
      stop.abort()
      await expect(loop).rejects.toThrow('aborted')
      await expect(watching).rejects.toThrow('aborted')
      rmSync(folder, { recursive: true })
      every(50_000)
    })
    test('gives up its promise of a timer', async () => {
      const stop = new AbortController()
      const late = sleep(50_000, null, { signal: stop.signal }).catch(() => 'aborted')
      await Promise.race([sleep(3), late]); stop.abort()
      expect(await late).toBe('aborted')
      void sleep(50_000, null, { ref: false }); await sleep(1); void sleep(20)
    })
    test('unrefs', () => { setInterval(() => {}, 1000).unref() })
    test('fakes the clock', () => {
      vi.useFakeTimers(); setInterval(() => {}, 1000); setTimeout(() => {}, 60_000); vi.useRealTimers()
    })
    test('terminates without waiting', () => { void new Worker('setInterval(() => {}, 1000)', { eval: true }).terminate() })
    test('fires soon', () => { setTimeout(() => {}, 30) })
    test('stops late', () => { const t = setInterval(() => { clearInterval(t) }, 25) })`,
  'hook.test.ts': `
    import { beforeAll, test } from 'vitest'
    const atTop = setInterval(() => {}, 1000) // 3
    beforeAll(() => { setInterval(() => {}, 2000) }) // 4
    test('does nothing', () => {})`,
  'concurrent.test.ts': `
    import { describe, test } from 'vitest'
    const pause = () => new Promise((resolve) => setTimeout(resolve, 10))
    describe.concurrent('at once', () => {
      test('one', async () => { await pause(); await pause() })
      test('two', async () => {
        await pause()
        setInterval(() => {}, 1000) // 8
        await pause()
      })
    })`,
}

/** The line that carries a mark, such as `// 12`. */
const lineOf = (file: string, mark: number): number =>
  1 + files[file]!.split('\n').findIndex((line) => line.endsWith(`// ${mark}`))

describe.each(['forks', 'threads'])('handles that outlive their test (%s)', (pool) => {
  let project: Project
  let warn: Outcome
  let error: Outcome
  const leaks = (file: string, title?: string): LeakEntry[] =>
    warn.record.leaks.filter((l) => l.file === file && (title === undefined || l.test?.at(-1) === title))

  beforeAll(async () => {
    project = makeProject({ ...files, 'vitest.config.ts': config('', `pool: '${pool}', testTimeout: 5000`) })
    warn = await runSuite(project)
    project.write('vitest.config.ts', config("{ leaks: 'error' }", `pool: '${pool}', testTimeout: 5000`))
    error = await runSuite(project, ['kinds', 'hook'])
  }, 180_000)
  afterAll(() => project.remove())

  test.each([
    ['interval', 'Interval', [12]],
    ['timeout', 'Timeout', [13]],
    ['tcp server', 'Server', [17]],
    ['watcher', 'FSWatcher', [27]],
    ['worker', 'Worker', [29]],
    ['channel', 'BroadcastChannel', [32]],
    ['udp socket', 'UdpSocket', [34]],
    ['http server with a client', 'Server', [40]],
    ['three of a kind', 'Interval', [43]],
    ['a loop over an interval', 'Interval', [44]],
    ['a promise of a timer', 'Timeout', [45]],
    ['a loop over a watcher', 'FSWatcher', [48]],
  ])('the test "%s" is named with its %s and the line', (title, kind, lines) => {
    const found = leaks('kinds.test.ts', title)
    expect(found.map((l) => [l.kind, l.class, l.created?.path, l.created?.line])).toEqual(
      lines.map((mark) => [kind, 'leaked-handle-after-tests', 'kinds.test.ts', lineOf('kinds.test.ts', mark)]),
    )
  })

  test('an open connection is named at both ends, each with its line', () => {
    const found = leaks('kinds.test.ts', 'socket').map((l) => [l.kind, l.created?.line])
    expect(found.sort()).toEqual([
      ['Server', lineOf('kinds.test.ts', 22)],
      ['Socket', lineOf('kinds.test.ts', 24)],
    ])
  })

  test('several of a kind from one line are one leak with a count', () => {
    expect(leaks('kinds.test.ts', 'three of a kind')[0]).toMatchObject({ count: 3 })
  })

  test('what is closed, unrefed, faked, shared by a hook, or over in a moment is no leak', () => {
    expect(leaks('healthy.test.ts')).toEqual([])
    expect(leaks('kinds.test.ts', 'healthy')).toEqual([])
  })

  test('what a hook or the top level of a file opens is laid to them', () => {
    expect(leaks('hook.test.ts').map((l) => [l.test, l.hook, l.created?.line])).toEqual([
      [null, undefined, lineOf('hook.test.ts', 3)],
      [null, 'beforeAll', lineOf('hook.test.ts', 4)],
    ])
  })

  test('of concurrent tests the one is named whose lines made it', () => {
    expect(leaks('concurrent.test.ts').map((l) => l.test)).toEqual([['at once', 'two']])
  })

  test('a warning changes no result, and the report says how to close each kind', () => {
    expect(warn.run.code).toBe(0)
    expect(new Set(warn.status.values())).toEqual(new Set(['passed']))
    expect(warn.run.output).toMatch(/ LEAKS {2}\d+ handles left open by \d+ tests/)
    expect(warn.run.output).toContain('clearInterval')
    expect(warn.run.output.indexOf('three of a kind')).toBeLessThan(warn.run.output.indexOf('> udp socket'))
  })

  test("leaks: 'error' fails the very tests that leaked", () => {
    expect(error.run.code).toBe(1)
    const failed = [...error.status].filter(([, status]) => status === 'failed').map(([name]) => name)
    expect(failed).toHaveLength(13)
    expect(error.status.get('kinds.test.ts > healthy')).toBe('passed')
    expect(error.assertions.get('kinds.test.ts > interval')?.failureMessages.join()).toMatch(
      /LeakError: "interval" left open: Interval \(every 1000 ms\).*kinds\.test\.ts:11/s,
    )
    expect(error.run.output).toContain('LeakError: the beforeAll hook of hook.test.ts left open')
  })
})

test('leaks of one file are not charged to the next one of the same worker', { timeout: 60_000 }, async () => {
  const project = makeProject({
    'a.test.ts': `
      import { test } from 'vitest'
      test('leaks', () => { setInterval(() => {}, 1000) })
      test('hangs', async () => { await new Promise((resolve) => { setInterval(() => {}, 1000, resolve) }) })`,
    'b.test.ts': `
      import { test } from 'vitest'
      test('does not', () => {})`,
    'vitest.config.ts': config('', 'isolate: false, maxWorkers: 1'),
  })
  try {
    const { record } = await runSuite(project)
    expect(record.leaks.map((l) => [l.file, l.test])).toEqual([['a.test.ts', ['leaks']]])
  } finally {
    project.remove()
  }
})

test('what a package opens on its own is laid to the test, what it opens when it is imported to nobody', {
  timeout: 60_000,
}, async () => {
  const project = makeProject({
    'node_modules/waits/package.json': '{ "name": "waits", "type": "module", "exports": "./index.js" }',
    'node_modules/waits/index.js': `
      import { readFile } from 'node:fs'
      export async function beat() {
        await null
        setInterval(() => {}, 1000)
      }
      export const later = (done) => readFile(new URL(import.meta.url), () => {
        setInterval(() => {}, 1000)
        setTimeout(() => {}, 60_000)
        done()
      })
      setInterval(() => {}, 1000)`,
    'a.test.ts': `
      import { test } from 'vitest'
      import { beat, later } from 'waits'
      test('beats', async () => { await beat() })
      test('beats later', async () => { await new Promise(later) })`,
    'vitest.config.ts': config(''),
  })
  try {
    const { record } = await runSuite(project)
    expect(record.leaks.map((l) => [l.test, l.kind, l.created?.path, l.created?.line])).toEqual([
      [['beats'], 'Interval', 'a.test.ts', 4],
      [['beats later'], 'Interval', 'node_modules/waits/index.js', 8],
    ])
  } finally {
    project.remove()
  }
})

test('leaks can be ignored by kind and by place, and switched off, by each project for itself', {
  timeout: 60_000,
}, async () => {
  const options = {
    site: "{ ignoreLeaks: [{ site: 'helpers/' }] }",
    both: "{ ignoreLeaks: [{ kind: 'Interval', site: /a\\.test/ }] }",
    kind: '{ ignoreLeaks: [{ kind: /interval/i }] }',
    off: "{ leaks: 'off' }",
  }
  const leaky = files['hook.test.ts']!
  const project = makeProject({
    'vitest.config.ts': `
      import { harrow } from 'harrow/vitest'
      const project = (name, options) => ({ plugins: [harrow(options)], test: { name, include: [name + '/**/*.test.ts'] } })
      export default { test: { maxWorkers: 2, projects: [
        ${Object.entries(options).map(([name, text]) => `project('${name}', ${text})`)},
      ] } }`,
  })
  for (const name of Object.keys(options)) {
    project.write(`${name}/a.test.ts`, leaky)
    project.write(`${name}/helpers/b.test.ts`, leaky)
  }
  try {
    const { run, record } = await runSuite(project)
    expect([run.code, ...new Set(record.leaks.map((leak) => leak.file))].sort(), run.output).toEqual([
      0,
      'both/helpers/b.test.ts',
      'site/a.test.ts',
    ])
  } finally {
    project.remove()
  }
})

test('deltas are kept of every test that moves something, and told by the fixture', { timeout: 60_000 }, async () => {
  const project = makeProject({
    'a.test.ts': `
      import { openSync } from 'node:fs'
      import { expect, test as base } from 'vitest'
      import { fixtures, resourceDeltaFixture } from 'harrow/vitest'
      base('quiet', () => {})
      base('moves', () => {
        openSync('/dev/null')
        openSync('/dev/null')
        process.on('SIGUSR2', () => {})
      })
      const reports = []
      const test = base.extend({
        resourceDelta: resourceDeltaFixture({ writer: (text, report) => reports.push({ text, report }) }),
      })
      test('is told', ({ resourceDelta }) => {
        expect(resourceDelta.before.fds).toBeGreaterThan(2)
        setInterval(() => {}, 1000)
      })
      base('has been told', () => {
        expect(reports).toHaveLength(1)
        expect(reports[0].report.handles.map((handle) => handle.kind)).toEqual(['Interval'])
        expect(reports[0].text).toContain('a.test.ts')
      })
      base.extend(fixtures)('has the fixture at hand', ({ resourceDelta }) => {
        expect(resourceDelta.before.heapUsed).toBeGreaterThan(0)
      })`,
    'vitest.config.ts': config(''),
  })
  try {
    const { record, status } = await runSuite(project)
    expect([...status.values()]).toEqual(Array.from({ length: 5 }, () => 'passed'))
    const moves = record.deltas.find((delta) => delta.test[0] === 'moves')
    expect(moves).toMatchObject({ file: 'a.test.ts', descriptors: 2, listeners: 1 })
    expect(record.deltas.some((delta) => delta.test[0] === 'quiet')).toBe(false)
  } finally {
    project.remove()
  }
})
