import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs, { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { LiveHandle } from '../../../src/inspect/facts.ts'
import { installHandles } from '../../../src/inspect/resources/handles.ts'
import { kindHint } from '../../../src/inspect/resources/hints.ts'
import { matchIgnore } from '../../../src/inspect/resources/ignore.ts'
import {
  type ResourceDeltaReport,
  type TrackOptions,
  trackResourceDeltas,
} from '../../../src/inspect/resources/track.ts'

const LINUX = process.platform === 'linux'

let folder: string
const cleanup: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'harrow-test-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const undo of cleanup.splice(0).reverse()) await undo()
  rmSync(folder, { recursive: true, force: true })
})

async function track(
  run: () => unknown,
  options: TrackOptions = {},
): Promise<{ text: string; report: ResourceDeltaReport }> {
  const written: { text: string; report: ResourceDeltaReport }[] = []
  await trackResourceDeltas('piece', run, { writer: (text, report) => written.push({ text, report }), ...options })
  expect(written).toHaveLength(1)
  return written[0]!
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

/** Other test files and programs use `/dev/shm` at the same time. */
const ownChanges = ({ changes }: ResourceDeltaReport) => changes.filter(({ kind }) => kind !== 'shm')

/** One leak of each kind: what it is called in the report, and the counts that it moves. */
const leaks: Record<
  string,
  { leak(): unknown; moves: Partial<Record<keyof ResourceDeltaReport, number>>; text: RegExp }
> = {
  Interval: {
    leak() {
      const timer = setInterval(() => {}, 30)
      cleanup.push(() => clearInterval(timer))
    },
    moves: {},
    text: /\n {2}open Interval every 30 ms \(\d+ ms old\) made at .*track\.test\.ts:\d+:\d+\n {4}clearInterval/,
  },
  Worker: {
    async leak() {
      const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
      cleanup.push(() => worker.terminate())
      await once(worker, 'online')
    },
    moves: { workers: 1 },
    text: /workers: 0 -> 1\n[\s\S]*open Worker eval [\s\S]*await worker\.terminate/,
  },
  Descriptor: {
    leak() {
      const fd = fs.openSync(join(folder, 'left'), 'w')
      cleanup.push(() => fs.closeSync(fd))
    },
    moves: {},
    text: /open Descriptor fd \d+ \(.*\/left\)[\s\S]*\+ fd \d+ \(.*\/left\)/,
  },
  ChildProcess: {
    async leak() {
      const child = spawn('sleep', ['100'], { stdio: 'ignore' })
      cleanup.push(() => end(child))
      await once(child, 'spawn')
    },
    moves: { children: 1 },
    text: /child processes: \d+ -> \d+\n[\s\S]*open ChildProcess \d+ `sleep 100`[\s\S]*\+ \d+ `/,
  },
  UnixServer: {
    async leak() {
      const server = net.createServer().listen(join(folder, 'left.sock'))
      cleanup.push(() => server.close())
      await once(server, 'listening')
    },
    moves: { unixSockets: 1 },
    text: /unix sockets: \d+ -> \d+\n[\s\S]*open UnixServer .*\/left\.sock/,
  },
  Server: {
    async leak() {
      const server = net.createServer().listen(0, '127.0.0.1')
      cleanup.push(() => server.close())
      await once(server, 'listening')
    },
    moves: {},
    text: /open Server 127\.0\.0\.1:\d+ .* made at .*track\.test\.ts[\s\S]*\+ fd \d+ \(TCP LISTEN on 127\.0\.0\.1/,
  },
  'shared memory': {
    leak() {
      const path = `/dev/shm/harrow-test-${process.pid}-track`
      fs.writeFileSync(path, 'x')
      cleanup.push(() => fs.rmSync(path))
    },
    moves: {},
    text: /\+ \/dev\/shm\/harrow-test-\d+-track\n/,
  },
  'a listener': {
    leak() {
      const listener = () => {}
      process.on('harrow-test', listener)
      cleanup.push(() => process.off('harrow-test', listener))
    },
    moves: { listeners: 1 },
    text: /process listeners: \d+ -> \d+\n[\s\S]*\+ 1 for 'harrow-test'\n/,
  },
}

describe('tracked code', () => {
  it.runIf(LINUX).for(Object.entries(leaks))('that leaves %s is reported with it', async ([, row]) => {
    const { text, report } = await track(row.leak)
    expect(report.changed).toBe(true)
    expect(text).toMatch(/^piece: left something behind/)
    expect(text).toMatch(row.text)
    for (const [name, count] of Object.entries(row.moves)) {
      const { before, after } = report[name as 'fds']
      expect(`${name} ${after! - before!}`).toBe(`${name} ${count}`)
    }
    expect(JSON.parse(JSON.stringify(report))).toEqual(report)
  })

  it('that leaves nothing says so to a writer, and nothing to stderr', async () => {
    const write = vi.spyOn(process.stderr, 'write')
    const clean = () => clearTimeout(setTimeout(() => {}, 1000))
    const { text, report } = await track(clean)
    expect(report).toMatchObject({ label: 'piece', handles: [] })
    expect(ownChanges(report)).toEqual([])
    if (!report.changed) expect(text).toMatch(/^piece: nothing left behind/)
    await trackResourceDeltas('piece', clean)
    expect(write.mock.calls.filter(([line]) => !String(line).includes('/dev/shm/'))).toEqual([])
  })

  it('writes to stderr by default when something changed', async () => {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    await trackResourceDeltas('piece', leaks.Interval!.leak)
    expect(write.mock.calls.map(([text]) => text)).toEqual([expect.stringContaining('open Interval every 30 ms')])
  })

  it('gets the counts of before, and its result is handed on', async () => {
    const result = await trackResourceDeltas('piece', (before) => ({ listeners: before.listeners }), { writer() {} })
    expect(result).toEqual({ listeners: expect.any(Number) })
  })

  it('that throws is reported, and throws the same', async () => {
    const error = new Error('mine')
    const texts: string[] = []
    const run = async () => {
      await leaks.Interval!.leak()
      throw error
    }
    const writer = (text: string) => texts.push(text)
    await expect(trackResourceDeltas('piece', run, { writer })).rejects.toBe(error)
    expect(texts).toEqual([expect.stringContaining('open Interval')])
  })

  it('is not harmed by a writer that throws', async () => {
    const writer = () => {
      throw new Error('disk full')
    }
    expect(await trackResourceDeltas('piece', () => 5, { writer })).toBe(5)
  })

  it('gets time to close what is closing', async () => {
    const { report } = await track(async () => {
      const server = net.createServer().listen(0)
      await once(server, 'listening')
      server.close()
      setTimeout(() => {}, 1)
    })
    expect(report.handles).toEqual([])
  })

  it('reports what went as well, and uses the registry that it is given', async () => {
    const registry = installHandles({ scope: () => 1, isUser: () => true })
    cleanup.push(() => registry.close())
    const fd = fs.openSync(join(folder, 'gone'), 'w')
    const { report } = await track(() => fs.closeSync(fd), { registry })
    if (LINUX) expect(ownChanges(report)).toEqual([expect.objectContaining({ kind: 'descriptors', appeared: false })])
    const timer = setTimeout(() => {}, 60_000)
    cleanup.push(() => clearTimeout(timer))
    expect(registry.live().map(({ handle }) => handle.kind)).toContain('Timeout')
  })

  it('leaves out what is on the ignore list, and says how many', async () => {
    const { text, report } = await track(leaks.Interval!.leak, {
      ignore: [{ kind: 'Interval', site: 'track.test.ts' }],
    })
    expect(report).toMatchObject({ handles: [], ignored: 1 })
    expect(ownChanges(report)).toEqual([])
    expect(text).toMatch(/ignored: 1/)
  })
})

describe('the ignore list', () => {
  const handle: Pick<LiveHandle, 'kind' | 'created'> = {
    kind: 'Timeout',
    created: [
      { fn: 'a', at: { url: 'node:timers', line: 3, column: 1 } },
      { fn: 'b', at: { url: 'file:///app/src/pool.ts', line: 12, column: 5 } },
    ],
  }
  it.for([
    [{ kind: 'Timeout' }, true],
    [{ kind: 'Time' }, false],
    [{ kind: /^Time/ }, true],
    [{ site: 'src/pool.ts' }, true],
    [{ site: 'src/pool.ts:12' }, true],
    [{ site: 'src/pool.ts:1' }, false],
    [{ site: /pool\.ts:12:5$/g }, true],
    [{ kind: 'Interval', site: 'src/pool.ts' }, false],
    [{}, false],
  ] as const)('has for %o the answer %s', ([rule, answer]) => {
    expect(matchIgnore(handle, [rule])).toBe(answer)
    expect(matchIgnore(handle, [{ kind: 'Tty' }, rule])).toBe(answer)
  })

  it('matches nothing when it is empty', () => {
    expect(matchIgnore(handle, [])).toBe(false)
  })
})

describe('hints', () => {
  it('tell for each kind how to close it, and something for any other', () => {
    expect(kindHint('Interval')).toBe('clearInterval(timer)')
    expect(kindHint('Server')).toMatch(/server\.close.*closeAllConnections/)
    expect(kindHint('toString')).toBe(kindHint('ZLIB'))
  })
})
