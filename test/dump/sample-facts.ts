/** Facts as they come from real workers, for the tests of classes and texts. */
import type { AwaitFrame, Frame, HangFacts } from '../../src/dump/facts.ts'
import type { HeldBy } from '../../src/inspect/facts.ts'

export const OWNER = 'harrow:test:1'

/** An idle worker inside a test; nothing is suspended. */
export function factsOf(changes: Partial<HangFacts> = {}): HangFacts {
  return {
    test: ['stock', 'reserves stock'],
    concurrent: [],
    file: { path: 'test/stock.test.ts', line: 7 },
    phase: 'test',
    hook: null,
    limitMs: 5000,
    waitedMs: 5012,
    at: '2026-11-20T14:03:07.412Z',
    pool: 'forks',
    pid: 4812,
    worker: 3,
    run: '8f2c01aa',
    node: 'v24.21.0',
    platform: 'linux x64',
    loop: 'idle',
    sync: null,
    crumb: null,
    kernel: [],
    awaits: [],
    owner: OWNER,
    lost: null,
    fakeTimers: null,
    resources: { PipeWrap: 2, Timeout: 1 },
    processes: [{ pid: 4812, ppid: 4700, state: 'S', wchan: 'ep_poll', command: 'node (vitest 3)' }],
    missing: [],
    tookMs: 214,
    ...changes,
  }
}

export function frame(fn: string, at: string, source?: string, rest: Partial<Frame> = {}): Frame {
  const [path = '', line = '1', column] = at.split(/:(?=\d)/)
  return {
    fn,
    site: { path, line: Number(line), ...(column !== undefined && { column: Number(column) }) },
    ...(source !== undefined && { source }),
    user: !path.startsWith('node:') && !path.includes('node_modules'),
    ...rest,
  }
}

export function suspended(id: number, base: Frame, rest: Partial<AwaitFrame> = {}): AwaitFrame {
  return { ...base, id, awaitedBy: [], owner: OWNER, heldBy: [], exact: true, ...rest }
}

export function heldBy(owner: string, path: string, rest: Partial<HeldBy> = {}): HeldBy {
  return { owner, path, ...rest }
}

const VITEST = 'node_modules/vitest/dist/chunks/run.js'

export const SPIN = (): HangFacts =>
  factsOf({
    test: ['spins until a timer flips the flag'],
    file: { path: 'test/blocked-spin-flag.test.ts', line: 7 },
    loop: 'blocked',
    awaits: null,
    resources: null,
    sync: {
      frames: [
        frame('<anonymous>', 'test/blocked-spin-flag.test.ts:13:10', 'while (!ready && performance.now() < stop) {}', {
          locals: { ready: 'false', stop: '123456.7' },
        }),
        frame('<anonymous>', `${VITEST}:100:5`),
        frame('runTest', `${VITEST}:200:5`),
        frame('processTicksAndRejections', 'node:internal/process/task_queues:105:5'),
      ],
      second: [
        frame('<anonymous>', 'test/blocked-spin-flag.test.ts:13:20', 'while (!ready && performance.now() < stop) {}'),
      ],
      microtasks: 'still',
    },
    missing: ['no heap snapshot: the thread did not answer'],
  })

export const ATOMICS = (): HangFacts => {
  const frames = [
    frame('waitSync', 'test/blocked-atomics-wait.test.ts:18:11', 'Atomics.wait(cell, 0, 0, 100_000)'),
    frame('<anonymous>', 'test/blocked-atomics-wait.test.ts:24:18', 'const answer = waitSync(ask(worker))'),
  ]
  return factsOf({
    loop: 'blocked',
    awaits: null,
    sync: { frames, second: frames, microtasks: 'still' },
    crumb: { call: 'Atomics.wait', detail: 'Int32Array(1), 0, 0, 100000', sinceMs: 4990, frames },
    kernel: ['main thread is blocked in futex(2): a lock or Atomics.wait'],
  })
}

export const MICROTASKS = (): HangFacts =>
  factsOf({
    loop: 'blocked',
    awaits: null,
    sync: {
      frames: [
        frame('settle', 'test/blocked-microtask-starvation.test.ts:9:5', 'await null'),
        frame('processTicksAndRejections', 'node:internal/process/task_queues:105:5'),
      ],
      second: [frame('<anonymous>', 'test/blocked-microtask-starvation.test.ts:18:22', 'await settle(() => landed)')],
      microtasks: 'turning',
    },
  })

export const REGEX = (): HangFacts => {
  const frames = [
    frame('isSlugList', 'test/blocked-regex-backtracking.test.ts:8:16', 'return SLUGS.test(text)'),
    frame('<anonymous>', 'test/blocked-regex-backtracking.test.ts:13:10', 'expect(isSlugList(input)).toBe(false)'),
  ]
  return factsOf({ loop: 'blocked', awaits: null, sync: { frames, second: frames, microtasks: 'still' } })
}

export const SYNC_CHILD = (): HangFacts =>
  factsOf({
    test: ['smoke-tests the server through a CLI'],
    file: { path: 'test/blocked-execsync-self-server.test.ts', line: 14 },
    loop: 'blocked',
    awaits: null,
    resources: null,
    waitedMs: 3004,
    limitMs: 2000,
    crumb: {
      call: 'child_process.execFileSync',
      detail: 'node -e … http://127.0.0.1:40123/',
      sinceMs: 2980,
      frames: [
        frame('execFileSync', 'node:child_process:970:1'),
        frame(
          '<anonymous>',
          'test/blocked-execsync-self-server.test.ts:19:15',
          "const out = execFileSync(process.execPath, ['-e', CLIENT, base], { timeout: 100_000 })",
        ),
      ],
    },
    kernel: ['main thread is inside spawnSync, waiting for child 4912 `node -e …` [event loop idle]'],
    processes: [
      {
        pid: 4812,
        ppid: 4700,
        state: 'S',
        wchan: 'ep_poll',
        cpuPercent: 0,
        rssBytes: 142_000_000,
        ageMs: 61_000,
        command: 'node (vitest 3)',
      },
      {
        pid: 4912,
        ppid: 4812,
        state: 'S',
        wchan: 'ep_poll',
        cpuPercent: 0,
        rssBytes: 48_000_000,
        ageMs: 3000,
        command: 'node -e … http://127.0.0.1:40123/',
      },
    ],
  })

export const NATIVE = (): HangFacts =>
  factsOf({
    loop: 'blocked',
    awaits: null,
    kernel: [
      'main thread is in clock_nanosleep(2) between retries: x.db is locked (POSIX WRITE) by 1304 `node other.js`',
    ],
  })

export const SERVER_CLOSE = (): HangFacts =>
  factsOf({
    test: ['shuts the TCP server down'],
    file: { path: 'test/await-server-close-open-socket.test.ts', line: 7 },
    awaits: [
      suspended(
        11,
        frame(
          '<anonymous>',
          'test/await-server-close-open-socket.test.ts:13:3',
          'await new Promise<void>((resolve) => server.close(() => resolve()))',
          { locals: { server: 'Server', client: 'Socket' } },
        ),
        { heldBy: [heldBy('Server', 'Server._events.close', { event: 'close' })] },
      ),
    ],
    resources: { PipeWrap: 2, TCPSocketWrap: 2, TCPServerWrap: 1 },
  })

export const LOCK = (): HangFacts =>
  factsOf({
    test: ['moves money both ways'],
    file: { path: 'test/lock-abba.test.ts', line: 35 },
    awaits: [
      suspended(
        1,
        frame(
          '<anonymous>',
          'test/lock-abba.test.ts:38:3',
          'await Promise.all([transfer(a, b, 10), transfer(b, a, 5)])',
        ),
      ),
      suspended(2, frame('transfer', 'test/lock-abba.test.ts:28:3', 'await to.lock()'), { awaitedBy: [1] }),
      suspended(
        3,
        frame(
          'lock',
          'test/lock-abba.test.ts:10:20',
          'if (this.held) await new Promise<void>((resolve) => this.waiting.push(resolve))',
        ),
        {
          awaitedBy: [2],
          heldBy: [heldBy('Lock', 'Lock.waiting[0]')],
        },
      ),
      suspended(4, frame('transfer', 'test/lock-abba.test.ts:28:3', 'await to.lock()'), { awaitedBy: [1] }),
      suspended(5, frame('limited', 'node_modules/p-limit/index.js:20:3'), { awaitedBy: [4], user: false }),
      suspended(6, frame('lock', 'test/lock-abba.test.ts:10:20'), { awaitedBy: [5], exact: false }),
      suspended(9, frame('rpcCall', 'test/lock-abba.test.ts:3:3', 'await reply'), { owner: null }),
    ],
  })

export const LOST = (): HangFacts =>
  factsOf({
    test: ['waits for ready'],
    file: { path: 'test/lost-missed-event.test.ts', line: 14 },
    body: 'async',
    lost: {
      proven: true,
      awaited: [frame('<anonymous>', 'test/lost-missed-event.test.ts:17:3', "await once(service, 'ready')")],
      created: [
        frame('once', 'node:events:950:10'),
        frame('<anonymous>', 'test/lost-missed-event.test.ts:17:9', "await once(service, 'ready')"),
      ],
    },
  })

export const FAKE_TIMERS = (): HangFacts =>
  factsOf({
    test: ['retries after a pause'],
    file: { path: 'test/fake-timers-await-sleep.test.ts', line: 18 },
    awaits: [
      suspended(
        1,
        frame('<anonymous>', 'test/fake-timers-await-sleep.test.ts:21:17', 'const value = await withRetry(() => {'),
      ),
      suspended(
        2,
        frame(
          'withRetry',
          'test/fake-timers-await-sleep.test.ts:13:5',
          'await new Promise((resolve) => setTimeout(resolve, pause))',
        ),
        { awaitedBy: [1], heldBy: [heldBy('Clock', 'clock.timers[1].callback', { fakeClock: true })] },
      ),
    ],
    fakeTimers: {
      on: true,
      pending: 1,
      installed: [
        frame('useFakeTimers', 'node_modules/vitest/dist/vi.js:10:1'),
        frame('<anonymous>', 'test/fake-timers-await-sleep.test.ts:19:6', 'vi.useFakeTimers()'),
      ],
    },
  })

export const TOP_LEVEL_AWAIT = (): HangFacts =>
  factsOf({
    test: null,
    phase: 'collect',
    owner: 'harrow:collect:test/module-toplevel-await.test.ts',
    file: { path: 'test/module-toplevel-await.test.ts', line: 1 },
    limitMs: 60_000,
    waitedMs: 60_008,
    lost: {
      proven: true,
      awaited: [
        frame('<module>', 'test/module-toplevel-await.test.ts:10:18', "const [config] = await once(source, 'config')"),
      ],
      created: [frame('once', 'node:events:950:10')],
    },
  })

export const IMPORT_CYCLE = (): HangFacts =>
  factsOf({
    test: ['loads the plugin'],
    file: { path: 'test/module-import-cycle.test.ts', line: 9 },
    awaits: [
      suspended(
        1,
        frame(
          '<anonymous>',
          'test/module-import-cycle.test.ts:14:15',
          "const mod = await import(/* @vite-ignore */ pathToFileURL(join(dir, 'app.mjs')).href)",
        ),
      ),
      suspended(2, frame('runExternalModule', 'node_modules/vitest/dist/module-evaluator.js:93:3'), { awaitedBy: [1] }),
      suspended(3, frame('run', 'node:internal/modules/esm/module_job:550:3'), { awaitedBy: [2] }),
      suspended(4, frame('<anonymous>', '../corpus-cycle/node_modules/app/app.mjs:1:1'), {
        awaitedBy: [3, 6],
        exact: false,
      }),
      suspended(5, frame('<anonymous>', 'node:internal/modules/esm/loader:632:3'), { awaitedBy: [4] }),
      suspended(6, frame('run', 'node:internal/modules/esm/module_job:550:3'), { awaitedBy: [5] }),
    ],
  })
