import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { childrenOf, readCommand } from '../../src/process/procfs.ts'
import { isDead, stateOf, until } from '../process/sandbox.ts'
import { World } from './world.ts'

interface Node {
  pid: number
  ppid: number
  depth: number
  severity: string
  run: string | null
  role: string | null
  note: string | null
  command: string
}

describe.skipIf(process.platform !== 'linux')('harrow ptree', () => {
  let world: World
  beforeEach(() => {
    world = new World()
  })
  afterEach(() => world.end())

  const treeOf = async (...args: (number | string)[]): Promise<{ runs: { id: string }[]; processes: Node[] }> =>
    JSON.parse((await world.harrow(['ptree', ...args.map(String), '--json'])).out)

  test('shows all that is below a process, each parent before its children', async () => {
    const pid = world.shell('sleep 201 & sh -c "sleep 202 & wait" & wait')
    await until(() => world.marked().filter((one) => /^sleep 20/.test(readCommand(one) ?? '')).length === 2)
    const { processes } = await treeOf(pid)
    expect(processes.map(({ depth, severity }) => [depth, severity])).toEqual([
      [0, 'live'],
      [1, 'live'],
      [1, 'live'],
      [2, 'live'],
    ])
    expect(processes.at(-1)).toMatchObject({ command: 'sleep 202', ppid: processes.at(-2)?.pid, run: null })
    const { code, out } = await world.harrow(['ptree', String(pid)])
    expect(code, out).toBe(0)
    expect(out).toMatch(new RegExp(`^ +${pid}  live +sleeping +\\d+ % +\\d+ MB +\\d+ s .*sh -c sleep 201`, 'm'))
    expect(out).not.toContain('\u001b')
  })

  test('names the parent that does not wait for a zombie', async () => {
    const pid = world.shell('sleep 209 & exec sleep 203')
    await until(() => readCommand(pid) === 'sleep 203')
    // `sleep` waits for nobody.
    const [zombie = 0] = childrenOf(pid)
    process.kill(zombie, 'SIGKILL')
    await until(() => stateOf(zombie) === 'Z')
    const { code, out } = await world.harrow(['ptree', String(pid)])
    expect(code, out).toBe(1)
    expect(out).toContain(`zombie ${zombie}: parent ${pid} \`sleep 203\` does not wait for it`)
    expect(out).toContain('1 zombie')
  })

  test('gives the commands to look into a process that burns CPU', async () => {
    const pid = world.node('for (;;);')
    await until(() => readCommand(pid)?.endsWith('for (;;);') === true)
    // A machine with other things to do may leave it less than a CPU.
    const deadline = Date.now() + 20_000
    let found: Node | undefined
    while (found?.severity !== 'runaway' && Date.now() < deadline) {
      found = (await treeOf('--runaway', '5', pid)).processes[0]
    }
    expect(found).toMatchObject({ severity: 'runaway', note: expect.stringContaining(`top -H -p ${pid}`) })
  })

  test('shows the processes of a living run with main process, run and worker', async () => {
    const run = await world.startRun('sleep 204; :')
    await until(() => world.marked().some((pid) => readCommand(pid) === 'sleep 204'))
    const { runs, processes } = await treeOf()
    expect(runs).toContainEqual({ id: run.id, label: 'a run of a test', status: 'main-lives', mainPid: run.main })
    const of = (pid: number) => processes.find((one) => one.pid === pid)
    expect(of(run.main)).toMatchObject({ severity: 'live', run: run.id, role: 'main' })
    expect(of(run.sidecar)).toBe(undefined)
    const { children } = run
    const shell = of(children[0]!)
    // It is a child of main and marked as that of a worker's test: such a one can only have been adopted.
    expect(shell).toMatchObject({ severity: 'orphan', run: run.id, role: 'below worker 7' })
    expect(processes.find(({ ppid }) => ppid === shell?.pid)).toMatchObject({ command: 'sleep 204', severity: 'live' })
  })

  test('calls what a dead run left an orphan, and fails', async () => {
    const run = await world.abandonedRun('sleep 205; :')
    const { code, out } = await world.harrow(['ptree'])
    expect(code, out).toBe(1)
    expect(out).toContain(`run ${run.id} a run of a test, main process ${run.main} is dead`)
    expect(out).toMatch(new RegExp(`^ +${run.children[0]}  orphan`, 'm'))
    expect(out).toContain('npx harrow reap --yes')
    expect(isDead(run.children[0]!)).toBe(false)
  })

  test('does not call a deliberate daemon an orphan', async () => {
    const pid = world.start('sleep', ['206'], { env: { HARROW_SESSION: 'keep' } })
    await until(() => readCommand(pid) === 'sleep 206')
    const { processes } = await treeOf()
    expect(processes.find((one) => one.pid === pid)).toMatchObject({ severity: 'live', role: 'keep', run: null })
  })

  test('hides secrets in command lines', async () => {
    const pid = world.shell('sleep 207; : --token abcdef0123456789')
    await until(() => (readCommand(pid) ?? '').includes('--token'))
    const { out } = await world.harrow(['ptree', String(pid)])
    expect(out).toContain('--token [redacted]')
    expect(out).not.toContain('abcdef')
  })

  test.each<[string, string[], string]>([
    ['a process that is not there', ['2147483647'], 'there is no process 2147483647'],
    ['what is no pid', ['vitest'], 'PID expects a whole number'],
    ['a share that is none', ['--runaway', 'much'], '--runaway expects a whole number'],
    ['two pids', ['1', '2'], 'expected at most 1 argument without an option, got 1 2'],
    ['an option that it does not know', ['--watch'], 'unknown option --watch'],
  ])('refuses %s with one sentence and exit code 2', async (_name, args, words) => {
    const { code, out, err } = await world.harrow(['ptree', ...args])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(words)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
  })

  test('explains itself', async () => {
    const { code, out } = await world.harrow(['ptree', '--help'])
    expect(code).toBe(0)
    for (const word of ['PID', '--runaway', '--json', 'zombie', 'orphan', 'runaway', 'EXIT CODES'])
      expect(out).toContain(word)
  })
})
