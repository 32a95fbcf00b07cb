import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { childrenOf, readCommand } from '../../src/process/procfs.ts'
import { probeNamespace } from '../../src/reap/supervise-isolate.ts'
import { isDead, Sandbox, stateOf, until } from '../process/sandbox.ts'

const BIN = fileURLToPath(new URL('../../scripts/harrow.ts', import.meta.url))
const STRENGTH = new URL('../../src/reap/strength.ts', import.meta.url).href
const NODE = [process.execPath, '--experimental-strip-types', '--no-warnings'] as const
const has = (name: string) => spawnSync('/bin/sh', ['-c', `command -v ${name}`]).status === 0

interface Ran {
  code: number | null
  out: string
  err: string
}

describe.skipIf(process.platform !== 'linux')('harrow exec', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const environment = (extra: Record<string, string> = {}): NodeJS.ProcessEnv => ({
    PATH: process.env.PATH,
    // The sidecar has the mark of the sandbox in its arguments by this path.
    XDG_STATE_HOME: join(box.folder, box.mark),
    [box.tag.name]: box.tag.value,
    ...extra,
  })
  const sessions = () => join(box.folder, box.mark, 'harrow/sessions')
  const path = (name: string) => join(box.folder, name)

  function start(args: string[], options: SpawnOptions = {}): { child: ChildProcess; ran: Promise<Ran> } {
    const [node, ...flags] = NODE
    const child = spawn(node, [...flags, BIN, 'exec', ...args], { env: environment(), stdio: 'pipe', ...options })
    const code = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve))
    const output = Promise.all([text(child.stdout!), text(child.stderr!)])
    return { child, ran: Promise.all([code, output]).then(([code, [out, err]]) => ({ code, out, err })) }
  }
  const exec = (...args: string[]): Promise<Ran> => start(args).ran
  const shell = (script: string, ...options: string[]) => exec(...options, '--', '/bin/sh', '-c', script)
  /** Shell text that waits until process `$!` is `sleep` and no longer the shell that made it. */
  const UNTIL_SLEEP = 'until grep -q sleep /proc/$!/comm; do sleep 0.01; done'
  const alive = () => box.marked().filter((pid) => !isDead(pid))

  it('passes output and the exit code of the command on and says nothing when nothing is left', async () => {
    expect(await shell('echo out; echo err >&2; exit 7')).toEqual({ code: 7, out: 'out\n', err: 'err\n' })
    expect(readdirSync(sessions())).toEqual([])
  })

  it('gives the command its own input', async () => {
    const { child, ran } = start(['--', 'cat'])
    child.stdin!.end('through')
    expect(await ran).toEqual({ code: 0, out: 'through', err: '' })
  })

  it('ends with 128 + n when signal n ended the command', async () => {
    expect((await shell('kill -KILL $$')).code).toBe(137)
    expect((await shell('kill -TERM $$')).code).toBe(143)
  })

  it('ends with 127 for a command that does not exist and 126 for one that cannot be started', async () => {
    writeFileSync(path('plain'), 'text', { mode: 0o600 })
    writeFileSync(path('broken'), '#!/no/such/interpreter\n', { mode: 0o700 })
    const missing = await exec('--', 'no-such-command')
    expect(missing).toMatchObject({ code: 127, err: 'harrow exec: command not found: "no-such-command"\n' })
    for (const [command, reason] of [
      [path('plain'), 'not executable'],
      [box.folder, 'a folder'],
    ] as const) {
      const { code, err } = await exec('--', command)
      expect(code).toBe(126)
      expect(err).toContain(reason)
    }
    expect(await exec('--', path('broken'))).toMatchObject({
      code: 127,
      err: expect.stringContaining('the interpreter that'),
    })
  })

  it.each([
    [['ls'], 'put -- before the command'],
    [['--'], 'expected a command'],
    [['--bogus', '--', 'ls'], 'unknown option --bogus'],
    [['--grace', '-1', '--', 'ls'], '--grace'],
    [['--grace', 'soon', '--', 'ls'], '--grace'],
  ])('refuses %j', async (args, reason) => {
    const { code, err } = await exec(...args)
    expect(code).toBe(2)
    expect(err).toContain(reason)
  })

  it('ends what the command left, and lists it with its secrets hidden', async () => {
    const { code, err } = await shell(
      `setsid /bin/sh -c 'trap "" TERM; touch ${path('deaf')}; while :; do sleep 0.05; done; : --token=hush-hush' &
       (env -i setsid /bin/sh -c 'trap "exit 0" TERM; while :; do /bin/sleep 0.05; done; : ${box.mark}' 2>/dev/null &)
       sleep 61 &
       ${UNTIL_SLEEP}
       until [ -e ${path('deaf')} ]; do sleep 0.01; done
       exit 3`,
      '--grace',
      '150',
    )
    expect(code).toBe(3)
    expect(alive()).toEqual([])
    expect(err).toMatch(/^harrow exec: ended \d+ processes that `.*` left behind\n/s)
    expect(err).toMatch(/^ +\d+ +\d+\.\d s {2}SIGTERM {2}sleep 61$/m)
    expect(err).toMatch(/^ +\d+ +\d+\.\d s {2}SIGKILL {2}\/bin\/sh -c trap "" TERM.*\[redacted\]/m)
    expect(err).not.toContain('hush-hush')
    expect(readdirSync(sessions())).toEqual([])
  })

  it('tells the same as JSON', async () => {
    const { code, err } = await shell(`sleep 61 & ${UNTIL_SLEEP}`, '--json')
    expect(code).toBe(0)
    expect(JSON.parse(err)).toMatchObject({
      harrow: 'exec',
      code: 0,
      signal: null,
      strength: 'exact',
      ended: [{ pid: expect.any(Number), command: 'sleep 61', signal: 'SIGTERM', ageMs: expect.any(Number) }],
      left: [],
      kept: [],
    })
  })

  it.skipIf(!has('perl'))('finds a daemon without parent, session, environment and descriptors', async () => {
    const daemon = `use POSIX; open(my $f, ">", "${path('pid')}"); exit if fork; setsid(); exit if fork;
      print $f $$; close $f; POSIX::close($_) for 0..1100; %ENV = (); exec "/bin/sleep", "62.5"`
    const { err } = await shell(`perl -e '${daemon}'; until [ -s ${path('pid')} ]; do sleep 0.01; done`)
    const pid = Number(readFileSync(path('pid'), 'utf8'))
    expect(pid).toBeGreaterThan(1)
    expect(isDead(pid)).toBe(true)
    expect(err).toContain(`${pid} `)
  })

  it('ends a chain in which each generation starts the next one and goes', async () => {
    const relay = `sleep 0.01; setsid /bin/sh -c "$0" "$0" & : ${box.mark}`
    const { code } = await exec('--grace', '0', '--', '/bin/sh', '-c', 'setsid /bin/sh -c "$0" "$0" & exit 4', relay)
    expect(code).toBe(4)
    expect(alive()).toEqual([])
  })

  it('collects orphans that end while the command runs', async () => {
    const { child, ran } = start(['--', '/bin/sh', '-c', `(sleep 0.05 & echo $! > ${path('pid')}); exec sleep 61`])
    const orphan = () => Number(existsSync(path('pid')) ? readFileSync(path('pid'), 'utf8') : 0)
    await until(() => orphan() > 0 && stateOf(orphan()) === '')
    expect(childrenOf(child.pid!).map(stateOf)).not.toContain('Z')
    child.kill('SIGTERM')
    expect((await ran).code).toBe(143)
  })

  it.each(['INT', 'TERM', 'HUP', 'QUIT'])('passes SIG%s on to the command', async (signal) => {
    const { child, ran } = start([
      ...['--', '/bin/sh', '-c'],
      `trap 'echo got ${signal}; exit 5' ${signal}; touch ${path('ready')}; while :; do sleep 0.02; done`,
    ])
    await until(() => existsSync(path('ready')))
    child.kill(`SIG${signal}` as NodeJS.Signals)
    expect(await ran).toMatchObject({ code: 5, out: `got ${signal}\n` })
  })

  it.skipIf(!has('script'))('leaves Ctrl-C to the terminal, which sends it to the command itself', async () => {
    const inner = `trap 'echo INT >> ${path('got')}' INT; trap 'exit 6' TERM; echo $$ > ${path('ready')}
      while :; do sleep 0.02; done`
    writeFileSync(path('inner'), inner)
    const line = [...NODE, BIN, 'exec', '--', '/bin/sh', path('inner')].join(' ')
    const terminal = spawn('script', ['-qec', line, '/dev/null'], {
      env: environment(),
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    await until(() => existsSync(path('ready')) && readFileSync(path('ready'), 'utf8').endsWith('\n'))
    terminal.stdin.write('\u0003')
    await until(() => existsSync(path('got')))
    // SIGTERM goes the way that a second SIGINT would have gone before it.
    const pid = Number(readFileSync(path('ready'), 'utf8'))
    const supervisor = alive().find((one) => childrenOf(one).includes(pid))!
    process.kill(supervisor, 'SIGTERM')
    await until(() => isDead(pid) && isDead(supervisor))
    expect(readFileSync(path('got'), 'utf8')).toBe('INT\n')
    terminal.stdin.end()
  })

  it('ends the grace at once when a signal comes', async () => {
    const deaf = `trap "" TERM; touch ${path('deaf')}; while :; do sleep 0.05; done`
    const { child, ran } = start([
      ...['--grace', '3600000', '--', '/bin/sh', '-c'],
      `/bin/sh -c '${deaf}' & until [ -e ${path('deaf')} ]; do sleep 0.01; done; echo $$ > ${path('pid')}`,
    ])
    await until(() => existsSync(path('pid')) && readFileSync(path('pid'), 'utf8').endsWith('\n'))
    const command = Number(readFileSync(path('pid'), 'utf8'))
    await until(() => stateOf(command) === '')
    child.kill('SIGINT')
    expect(await ran).toMatchObject({ code: 0, err: expect.stringContaining('SIGKILL') })
    expect(alive()).toEqual([])
  })

  it('leaves a deliberate daemon alone and says so', async () => {
    const { code, err } = await shell(`HARROW_SESSION=keep sleep 63 >/dev/null 2>&1 & echo $! > ${path('pid')}
      ${UNTIL_SLEEP}`)
    const pid = Number(readFileSync(path('pid'), 'utf8'))
    expect(code).toBe(0)
    expect(err).toBe(`harrow exec: left process ${pid} alone, it is marked HARROW_SESSION=keep (sleep 63)\n`)
    expect(readCommand(pid)).toBe('sleep 63')
  })

  it('does not touch what was below it before', async () => {
    const [node, ...flags] = NODE
    const line = [node, ...flags, BIN, 'exec', '--', 'true'].join(' ')
    const before = spawn('/bin/sh', ['-c', `sleep 64 & echo $! > ${path('pid')}; exec ${line}`], {
      env: environment(),
      stdio: 'ignore',
    })
    await until(() => before.exitCode !== null)
    const pid = Number(readFileSync(path('pid'), 'utf8'))
    await until(() => readCommand(pid) === 'sleep 64')
  })

  it('works without the native layer, and says what that means', async () => {
    const script = `(setsid sleep 65 >/dev/null 2>&1 &) ; exit 3`
    const { child, ran } = start(['--', '/bin/sh', '-c', script], { env: environment({ HARROW_NATIVE: 'off' }) })
    const { code, err } = await ran
    expect(code).toBe(3)
    expect(err).toMatch(/^harrow exec: basic: .*HARROW_NATIVE=off\n/)
    expect(alive()).toEqual([])
    expect(child.exitCode).toBe(3)
  })

  it('tells a run below it that its strength is exact', async () => {
    const code = `import { execAncestor } from '${STRENGTH}'; console.log(execAncestor()?.id === process.env.HARROW_EXEC)`
    const { out } = await exec('--', ...NODE, '--input-type=module', '-e', code)
    expect(out).toBe('true\n')
  })

  it('has a sidecar that ends the command and the rest when it is killed itself', async () => {
    const script = `(setsid /bin/sh -c 'trap "" TERM; while :; do sleep 0.05; done' &); touch ${path('ready')}; exec sleep 66`
    const { child, ran } = start(['--grace', '100', '--', '/bin/sh', '-c', script])
    ran.catch(() => {})
    await until(() => existsSync(path('ready')))
    child.kill('SIGKILL')
    await until(() => alive().length === 0)
    expect(readdirSync(sessions()).filter((name) => !name.endsWith('.reaped.json'))).toEqual([])
  })

  describe('with --isolate', () => {
    it.skipIf('problem' in probeNamespace())('runs the command in a pid namespace of its own', async () => {
      const script = `[ $$ -lt 100 ] && echo inside; (setsid sleep 67 >/dev/null 2>&1 &); exit 3`
      const { code, out, err } = await shell(script, '--isolate')
      expect({ code, out }).toEqual({ code: 3, out: 'inside\n' })
      expect(err).toContain('left behind')
      expect(alive()).toEqual([])
    })

    it.skipIf('problem' in probeNamespace())('passes signals into the namespace, also early ones', async () => {
      const { child, ran } = start(['--isolate', '--', 'sleep', '68'])
      const started = () => childrenOf(child.pid!).some((pid) => readCommand(pid)?.includes('supervise-init'))
      await until(started)
      child.kill('SIGTERM')
      expect((await ran).code).toBe(143)
    })

    it('says why it cannot be done, and starts nothing', async () => {
      mkdirSync(path('bin'))
      const env = environment({ PATH: path('bin') })
      const { code, err } = await start(['--isolate', '--', '/bin/touch', path('made')], { env }).ran
      expect(code).toBe(125)
      expect(err).toContain('unshare(1) is not installed')
      expect(existsSync(path('made'))).toBe(false)
    })
  })
})
