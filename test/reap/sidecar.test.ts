import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { descriptorTarget, openDescriptors } from '../../src/process/descriptors.ts'
import { isNative, loadNative } from '../../src/process/native.ts'
import { childrenOf, readEnvironTag, readStat } from '../../src/process/procfs.ts'
import { isDead, Sandbox, stateOf, until } from '../process/sandbox.ts'
import { MainProcess } from './main-process.ts'

const native = isNative(loadNative())

describe.skipIf(process.platform !== 'linux')('the sidecar', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const treeStands = (depth: number) => until(() => box.inArguments().length >= 6 * depth)

  it.skipIf(!native).each([1, 2, 3])(
    'leaves nothing of a nasty tree when the main process is killed (trial %i)',
    async () => {
      const main = new MainProcess(box)
      await main.tell({ do: 'tree', mark: box.mark, depth: 2 })
      await treeStands(2)
      await main.kill()
      await main.reaped()
      expect(box.inArguments()).toEqual([])
      expect(existsSync(main.path('json'))).toBe(false)
      expect(existsSync(main.path('pids'))).toBe(false)
    },
  )

  it('survives the death of the whole process group of the main process', async () => {
    const main = new MainProcess(box, {}, { detached: true })
    await main.tell({ do: 'shell', script: `setsid sleep 300 & sleep 301 & wait; : ${box.mark}` })
    await until(() => box.inArguments().length > 0)
    process.kill(-main.pid, 'SIGKILL')
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })

  it('ignores the signals that end a terminal or a job', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    await main.hold(box.mark)
    await until(() => ignored(sidecar!.pid, 'SIGHUP'))
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGPIPE'] as const) {
      process.kill(sidecar!.pid, signal)
    }
    expect(isDead(sidecar!.pid)).toBe(false)
    await main.kill()
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })

  it('does nothing while the main process is stopped', async () => {
    const main = new MainProcess(box)
    const count = join(box.folder, 'count')
    const script = `trap '' TERM; while :; do echo >> ${count}; sleep 0.02; done; : ${box.mark}`
    const { sidecar } = await main.tell({ do: 'shell', script })
    await until(() => existsSync(count))
    main.child.kill('SIGSTOP')
    await until(() => stateOf(main.pid) === 'T')
    const before = statSync(count).size
    await until(() => statSync(count).size > before + 20)
    expect(childrenOf(sidecar!.pid)).toEqual([])
    main.child.kill('SIGCONT')
    main.child.send({ do: 'exit', clean: true })
    await until(() => isDead(sidecar!.pid))
    expect(box.inArguments().length).toBeGreaterThan(0)
  })

  it('goes when the session is closed, touches nothing, and leaves no file', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    const held = await main.hold(box.mark)
    await main.tell({ do: 'close' })
    await until(() => isDead(sidecar!.pid))
    expect(readdirSync(main.stateDir)).toEqual([])
    await main.kill()
    expect(isDead(held)).toBe(false)
  })

  it('hears a session that is closed right before the process exits', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    const held = await main.hold(box.mark)
    main.child.send({ do: 'exit', clean: true })
    await until(() => isDead(main.pid) && isDead(sidecar!.pid))
    expect(readdirSync(main.stateDir)).toEqual([])
    expect(isDead(held)).toBe(false)
  })

  it.each([undefined, false])(
    'ends what is left when the process exits without a clean end (closed: %s)',
    async (clean) => {
      const main = new MainProcess(box)
      await main.tell({ do: 'shell', script: `trap '' TERM; sleep 300 & wait; : ${box.mark}` })
      await until(() => box.inArguments().length > 0)
      main.child.send({ do: 'exit', ...(clean !== undefined && { clean }) })
      await main.reaped()
      expect(box.inArguments()).toEqual([])
    },
  )

  it('waits for the main process when only the session is closed', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    const held = await main.hold(box.mark)
    await main.tell({ do: 'close', clean: false })
    expect([sidecar!.pid, held].map(isDead)).toEqual([false, false])
    await main.kill()
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })

  it('is started again when it is killed while the main process lives', async () => {
    const main = new MainProcess(box)
    const { sidecar: first } = await main.ready()
    await main.hold(box.mark)
    process.kill(first!.pid, 'SIGKILL')
    await until(() => ![undefined, null, first!.pid].includes(main.state()?.sidecar?.pid))
    await main.kill()
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })

  it('is not started for ever', async () => {
    const main = new MainProcess(box)
    await main.ready()
    for (let time = 0; time < 4; time++) {
      const pid = main.state()!.sidecar!.pid
      process.kill(pid, 'SIGKILL')
      await until(() => main.state()!.sidecar?.pid !== pid)
    }
    expect(main.state()!.sidecar).toBe(null)
    const { notes } = await main.tell({ do: 'sample' })
    expect(notes).toEqual([expect.stringContaining('the sidecar was ended again and again')])
  })

  it('starts its second half again when that is killed', async () => {
    const main = new MainProcess(box, { politeMs: 500 })
    const { sidecar } = await main.tell({
      do: 'shell',
      script: `trap '' TERM; while :; do sleep 1; done; : ${box.mark}`,
    })
    await until(() => box.inArguments().length > 0)
    await main.kill()
    await until(() => childrenOf(sidecar!.pid).length === 1)
    process.kill(childrenOf(sidecar!.pid)[0]!, 'SIGKILL')
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })

  it('carries none of our marks, and leads a session of its own in the root folder', async () => {
    const main = new MainProcess(box, {}, { env: { HARROW_SESSION: 'outer', RUNNER_TRACKING_ID: 'ci' } })
    const { sidecar } = await main.ready()
    const { pid } = sidecar!
    expect(readEnvironTag(pid, 'HARROW_SESSION')).toBe(null)
    expect(readEnvironTag(pid, 'RUNNER_TRACKING_ID')).toBe('ci')
    expect(readStat(pid)?.session).toBe(pid)
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/')
    expect(openDescriptors(pid).map((fd) => descriptorTarget(pid, fd))).not.toContain(leaseOf(main))
    if (native) expect(openDescriptors(main.pid).map((fd) => descriptorTarget(main.pid, fd))).toContain(leaseOf(main))
  })

  it('removes the temporary folder of the session, and no other', async () => {
    const main = new MainProcess(box)
    const temp = mkdtempSync(join(tmpdir(), `harrow-${main.id}-`))
    const other = new MainProcess(box, { temp: box.folder })
    await main.tell({ do: 'temp', path: temp })
    await other.ready()
    await Promise.all([main.kill(), other.kill()])
    await Promise.all([main.reaped(), other.reaped()])
    expect([temp, box.folder].map((path) => existsSync(path))).toEqual([false, true])
  })

  it('says what it did, without command lines', async () => {
    const main = new MainProcess(box)
    const secret = `s3cret-${main.id}`
    await main.tell({ do: 'shell', script: `: --token=${secret}; sleep 300; : ${box.mark}` })
    await until(() => box.inArguments().length > 0)
    await main.kill()
    await main.reaped()
    const text = readFileSync(main.path('reaped.json'), 'utf8')
    expect(JSON.parse(text)).toMatchObject({
      format: 1,
      id: main.id,
      by: 'sidecar',
      ended: expect.arrayContaining([{ pid: expect.any(Number), command: 'sh', signal: 'SIGTERM' }]),
      left: [],
    })
    expect(text).not.toContain(secret)
    expect(statSync(main.path('reaped.json')).mode & 0o777).toBe(0o600)
  })

  it('ends what carries the tag or was seen, without the native layer', async () => {
    const main = new MainProcess(box, {}, { env: { HARROW_NATIVE: 'off' } })
    const { strength, missing } = await main.ready()
    expect([strength, missing]).toEqual(['basic', 'it is switched off by HARROW_NATIVE=off'])
    const script = `(setsid sh -c 'sleep 300; : ${box.mark}' &); env -i sh -c 'sleep 300; : ${box.mark}'; : ${box.mark}`
    await main.tell({ do: 'shell', script })
    await until(() => box.inArguments().length >= 3)
    await main.kill()
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })

  it.skipIf(process.getuid?.() !== 0 || !native)('works for a user without rights', async () => {
    chmodSync(box.folder, 0o755)
    const stateDir = join(box.folder, 'nobody')
    mkdirSync(stateDir, { mode: 0o700 })
    chownSync(stateDir, 65534, 65534)
    const main = new MainProcess(box, { stateDir }, { uid: 65534, gid: 65534 })
    const { strength, notes } = await main.tell({ do: 'tree', mark: box.mark, depth: 1 })
    expect([strength, notes]).toEqual(['strong', []])
    await treeStands(1)
    await main.kill()
    await main.reaped()
    expect(box.inArguments()).toEqual([])
  })
})

function leaseOf(main: MainProcess): string {
  return `/memfd:harrow-${main.id} (deleted)`
}

function ignored(pid: number, signal: 'SIGHUP'): boolean {
  const mask = /^SigIgn:\t(\w+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0'
  return signal === 'SIGHUP' && (BigInt(`0x${mask}`) & 1n) === 1n
}
