import { spawnSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify } from '../../src/process/identity.ts'
import { readCommand } from '../../src/process/procfs.ts'
import { isDead, Sandbox, until } from '../process/sandbox.ts'
import { MainProcess } from './main-process.ts'

describe.skipIf(process.platform !== 'linux')('strangers', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const sleeper = async (env: NodeJS.ProcessEnv, ...args: string[]) => {
    const pid = box.start('sleep', ['300', ...args], { env })
    await until(() => readCommand(pid)?.startsWith('sleep 300') === true)
    return pid
  }
  it('live on beside a run that is killed, whatever they have in common with it', async () => {
    const main = new MainProcess(box)
    const { id } = main
    const own = await main.hold(box.mark)
    const strangers = [
      await sleeper({ HARROW_SESSION: `${id}-2` }),
      await sleeper({ HARROW_SESSION: `${id}.2` }),
      await sleeper({ HARROW_SESSION: id.slice(0, -1) }),
      await sleeper({ HARROW_SESSION: `x${id}` }),
      await sleeper({ XHARROW_SESSION: id }),
      await sleeper({ HARROW_SESSION_2: id }),
      await sleeper({ OTHER: `HARROW_SESSION=${id}` }),
      await sleeper({ HARROW_SESSION: '' }),
      await sleeper({ CONFIG: id, HARROW_MEMBER: id }),
    ]
    // As if these pids had been those of processes that the run has seen.
    for (const pid of strangers) appendFileSync(main.path('pids'), `${pid} ${identify(pid)!.start - 1}\n`)
    await main.kill()
    await main.reaped()
    expect(isDead(own)).toBe(true)
    expect(strangers.filter(isDead)).toEqual([])
  })

  it('live on when they belong to another run at the same time', async () => {
    const [one, other] = [new MainProcess(box), new MainProcess(box)]
    const [first, second] = [await one.hold(box.mark), await other.hold(box.mark)]
    const { sidecar } = await other.ready()
    await one.kill()
    await one.reaped()
    expect([first, second, other.pid, sidecar!.pid].map(isDead)).toEqual([true, false, false, false])
    await other.kill()
    await other.reaped()
    expect(isDead(second)).toBe(true)
  })

  it('live on in the run around one that is killed', async () => {
    const outer = new MainProcess(box)
    const around = await outer.hold(box.mark)
    const inner = await outer.tell({ do: 'inner', mark: box.mark })
    const { pid, within } = inner.value as { pid: number; within: number }
    process.kill(pid, 'SIGKILL')
    await until(() => isDead(within))
    expect([around, outer.pid].map(isDead)).toEqual([false, false])
  })

  it('live on when they have got the pid of a known process', (context) => {
    const program = fileURLToPath(new URL('./programs/pid-reuse.ts', import.meta.url))
    const namespaces = ['--user', '--map-root-user', '--pid', '--fork', '--kill-child', '--mount-proc']
    const { stdout, status } = spawnSync('unshare', [...namespaces, process.execPath, program, box.folder], {
      encoding: 'utf8',
      timeout: 20_000,
      killSignal: 'SIGKILL',
    })
    // Without the right to make namespaces; the registry of the first test holds such pids as well.
    if (status !== 0 || !stdout) return context.skip()
    const result = JSON.parse(stdout) as { reused: boolean }
    if (!result.reused) return context.skip()
    expect(result).toEqual({
      reused: true,
      alive: true,
      signalled: [false, false],
      ended: [],
      left: [],
      recovered: [{ ...(result as unknown as { recovered: object[] }).recovered[0], by: 'run', ended: [], left: [] }],
    })
  })
})
