import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import pidusage from 'pidusage'
import psList from 'ps-list'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { identify } from '../../src/process/identity.ts'
import { childrenByParent, listingSource, listProcesses, type ProcessRow } from '../../src/process/list.ts'
import { listenersOn } from '../../src/process/listeners.ts'
import { childrenOf, readCommand } from '../../src/process/procfs.ts'
import { type Severity, severityOf } from '../../src/process/severity.ts'
import { cpuSupply } from '../../src/process/throttle.ts'
import { usageOf } from '../../src/process/usage.ts'
import { Sandbox, stateOf, until } from './sandbox.ts'

const linux = process.platform === 'linux'

describe('a list of all processes', () => {
  it('holds this process, whatever the source', async () => {
    const rows = await listProcesses()
    const self = rows.find(({ pid }) => pid === process.pid)
    expect(self).toMatchObject({ ppid: process.ppid, uid: process.getuid?.() ?? null, kernel: false })
    expect(self?.id).toEqual(identify(process.pid))
    expect(rows.map(({ pid }) => pid)).toEqual(rows.map(({ pid }) => pid).sort((a, b) => a - b))
  })

  it('says where it comes from, and what is missing when that is not all', () => {
    const { from, strength, note } = listingSource()
    if (linux) expect({ from, strength, note }).toEqual({ from: '/proc', strength: 'full', note: null })
    else expect({ from, strength, note }).toEqual({ from: 'ps-list', strength: 'basic', note: expect.any(String) })
  })

  it('is empty where nothing can be listed', async () => {
    expect(await listProcesses('none')).toEqual([])
  })

  it('is in the order of a tree by parent', () => {
    const rows = [
      { pid: 1, ppid: 0 },
      { pid: 2, ppid: 1 },
      { pid: 3, ppid: 1 },
      { pid: 4, ppid: 4 },
    ]
    expect([...childrenByParent(rows)]).toEqual([
      [0, [rows[0]]],
      [1, [rows[1], rows[2]]],
    ])
  })
})

describe.skipIf(!linux)('processes on Linux', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const rowOf = async (pid: number, from?: '/proc' | 'ps-list'): Promise<ProcessRow | undefined> =>
    (await listProcesses(from)).find((row) => row.pid === pid)

  it('are told by /proc as ps-list tells them', async () => {
    const sleeper = box.start('sleep', ['60'])
    await until(() => readCommand(sleeper) === 'sleep 60')
    const oracle = (await psList()).find(({ pid }) => pid === sleeper)
    expect(await rowOf(sleeper)).toMatchObject({
      pid: oracle?.pid,
      ppid: oracle?.ppid,
      uid: oracle?.uid,
      command: oracle?.cmd,
    })
  })

  it('are told by ps-list with starts to the second and without marks', async () => {
    const sleeper = box.start('sleep', ['60'], { env: { HARROW_SESSION: 'none' } })
    await until(() => readCommand(sleeper) === 'sleep 60')
    const [full, basic] = [await rowOf(sleeper), await rowOf(sleeper, 'ps-list')]
    expect(basic).toMatchObject({ ppid: process.pid, command: 'sleep 60', state: '?', marks: null, rssBytes: null })
    expect(basic?.id).toMatchObject({ bootId: 'epoch', pid: sleeper, start: expect.any(Number) })
    // Two seconds: `ps` rounds the time since boot and the time of boot.
    expect(Math.abs(basic!.ageMs! - full!.ageMs!)).toBeLessThan(60_000)
  })

  it('show the marks that they were started with', async () => {
    const env = { HARROW_SESSION: 'feedface', HARROW_MEMBER: 'feedface.3' }
    const child = box.start('sleep', ['60'], { env })
    const worker = box.start('sleep', ['60'], { env: { ...env, HARROW_WORKER: '{}' } })
    const other = box.start('sleep', ['60'], { env: { NOT_HARROW_SESSION: 'feedface', X: 'HARROW_SESSION=feedface' } })
    await until(() => [child, worker, other].every((pid) => readCommand(pid) === 'sleep 60'))
    expect((await rowOf(child))?.marks).toEqual({ run: 'feedface', member: 'feedface.3', worker: false })
    expect((await rowOf(worker))?.marks).toEqual({ run: 'feedface', member: 'feedface.3', worker: true })
    expect((await rowOf(other))?.marks).toBe(null)
  })

  it('are called a zombie by both sources', async () => {
    const parent = box.shell('sleep 61 & exec sleep 60')
    await until(() => readCommand(parent) === 'sleep 60')
    // `sleep` waits for nobody.
    const [zombie = 0] = childrenOf(parent)
    process.kill(zombie, 'SIGKILL')
    await until(() => stateOf(zombie) === 'Z')
    expect(await rowOf(zombie)).toMatchObject({ state: 'Z', ppid: parent, marks: null })
    expect(await rowOf(zombie, 'ps-list')).toMatchObject({ state: 'Z', ppid: parent })
  })

  it.each(['proc', 'pidusage'] as const)('use as much of a CPU as they burn, measured by %s', async (from) => {
    const busy = box.node('for (;;);')
    const idle = box.start('sleep', ['60'])
    await until(() => readCommand(idle) === 'sleep 60' && (readCommand(busy) ?? '').includes('for'))
    const look = () => usageOf([busy, idle, 0x7fff_ffff], 200, from)
    let usage = await look()
    // A machine with other things to do may give it nothing for a while, and the other one has a beginning, too.
    const isSettled = () => usage.get(busy)!.cpuPercent > 0 && usage.get(idle)!.cpuPercent === 0
    for (const deadline = Date.now() + 20_000; !isSettled() && Date.now() < deadline; ) usage = await look()
    expect([...usage.keys()].sort()).toEqual([busy, idle].sort())
    expect(isSettled()).toBe(true)
    expect(usage.get(idle)!.rssBytes).toBeGreaterThan(0)
  })

  it('have the memory that pidusage tells', async () => {
    const idle = box.start('sleep', ['60'])
    await until(() => readCommand(idle) === 'sleep 60' && stateOf(idle) === 'S')
    // The system may take memory from it between two looks.
    const both = async () => [(await usageOf([idle])).get(idle)?.rssBytes, (await pidusage(idle)).memory]
    let [ours, theirs] = await both()
    for (let again = 0; ours !== theirs && again < 20; again++) [ours, theirs] = await both()
    pidusage.clear()
    expect(ours).toBe(theirs)
    expect(ours).toBeGreaterThan(0)
  })

  it.each(['proc', 'pidusage'] as const)('that are all gone have no usage, asked of %s', async (from) => {
    expect((await usageOf([0x7fff_fffe, 0x7fff_ffff], 10, from)).size).toBe(0)
    expect((await usageOf([], 10, from)).size).toBe(0)
  })

  it('that listen on a port are found with address and pid', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    const six = createServer().listen(0, '::')
    try {
      await Promise.all([once(server, 'listening'), once(six, 'listening')])
      const port = (server.address() as AddressInfo).port
      const sixPort = (six.address() as AddressInfo).port
      expect(listenersOn([port])).toMatchObject([{ port, address: '127.0.0.1', uid: process.getuid?.() }])
      expect(listenersOn([port])[0]?.pids).toContain(process.pid)
      expect(listenersOn([sixPort])).toMatchObject([{ port: sixPort, address: '::' }])
      expect(listenersOn([])).toEqual([])
    } finally {
      server.close()
      six.close()
    }
  })
})

test('the supply of CPU is told with a limit only where there is one', async () => {
  const { cores, quota, throttled, throttledNow, load } = await cpuSupply(10)
  expect(cores).toBeGreaterThan(0)
  expect(load).toBeGreaterThanOrEqual(0)
  if (quota === null) expect([throttled, throttledNow]).toEqual([null, null])
  else expect([quota > 0, throttled! >= 0, throttledNow! <= 1]).toEqual([true, true, true])
})

describe('how bad it is that a process is there', () => {
  const MAIN = { bootId: 'b', pid: 100, start: 5 }
  const row = (more: Partial<ProcessRow> = {}): ProcessRow => ({
    pid: 200,
    ppid: 150,
    id: { bootId: 'b', pid: 200, start: 9 },
    uid: 1000,
    state: 'S',
    kernel: false,
    ageMs: 1,
    rssBytes: 1,
    command: 'x',
    marks: { run: 'r', member: 'r.1', worker: false },
    ...more,
  })
  const judge = (one: ProcessRow, alive: boolean | undefined, cpu = 0, ours: number[] = [100, 150, 200]): Severity =>
    severityOf(one, {
      mainOf: () => (alive === undefined ? undefined : { id: MAIN, alive }),
      runOf: (pid) => (ours.includes(pid) ? 'r' : null),
      cpuOf: () => cpu,
    })

  it.each<[string, Severity, Severity]>([
    ['a child of a member of a living run', judge(row(), true), 'live'],
    ['a member of a dead run', judge(row(), false), 'orphan'],
    ['one adopted by the first process', judge(row({ ppid: 1 }), true), 'orphan'],
    ['one adopted by a stranger', judge(row({ ppid: 70 }), true), 'orphan'],
    ['a child of a test, adopted by the main process', judge(row({ ppid: 100 }), true), 'orphan'],
    ['a worker', judge(row({ ppid: 100, marks: { run: 'r', member: 'r.1', worker: true } }), true), 'live'],
    ['what the main process started itself', judge(row({ ppid: 100, marks: null }), true), 'live'],
    ['the main process', judge(row({ pid: 100, ppid: 1, id: MAIN }), true), 'live'],
    ['a later process with the pid of the main process', judge(row({ pid: 100, ppid: 1 }), true), 'orphan'],
    ['one of an unknown run below a stranger', judge(row({ ppid: 70 }), undefined), 'live'],
    ['one of an unknown run below the first process', judge(row({ ppid: 1 }), undefined), 'orphan'],
    [
      'a deliberate daemon',
      judge(row({ ppid: 1, marks: { run: 'keep', member: null, worker: false } }), undefined),
      'live',
    ],
    ['a foreign child of the first process', judge(row({ ppid: 1 }), true, 0, []), 'live'],
    ['a member that burns a CPU', judge(row(), true, 99), 'runaway'],
    ['a member that is busy', judge(row(), true, 95), 'live'],
    ['an orphan that burns a CPU', judge(row({ ppid: 1 }), true, 99), 'orphan'],
    ['a dead process that nobody waited for', judge(row({ state: 'Z', ppid: 1 }), false), 'zombie'],
  ])('%s', (_name, found, expected) => {
    expect(found).toBe(expected)
  })
})
