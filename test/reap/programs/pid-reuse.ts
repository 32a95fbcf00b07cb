// First process of a pid namespace of its own: gives the pid of a known process to another one, then ends the known one.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { identify, isRunning, signalProcess } from '../../../src/process/identity.ts'
import { loadNative } from '../../../src/process/native.ts'
import { uptimeMs } from '../../../src/process/procfs.ts'
import { endMembers } from '../../../src/reap/end.ts'
import { recoverSessions } from '../../../src/reap/recover.ts'
import { currentBoot, host, pidNamespace, writeState } from '../../../src/reap/state.ts'

const folder = join(process.argv[2] ?? '', 'reuse')
const id = { name: 'HARROW_SESSION', value: 'reuse' }

const known = spawn('sleep', ['300'], { stdio: 'ignore' })
const identity = identify(known.pid!)!
known.kill('SIGKILL')
await once(known, 'exit')
// A start is exact to 10 ms.
while (uptimeMs()! < identity.start * 10 + 20) {}

const stranger = spawnWithPid(identity.pid)
if (stranger?.pid !== identity.pid) finish({ reused: false })

mkdirSync(folder, { mode: 0o700 })
writeFileSync(join(folder, 'reuse.pids'), `${identity.pid} ${identity.start}\n`)
writeState({
  format: 1,
  id: id.value,
  kind: 'vitest',
  label: '',
  root: '/',
  folder,
  bootId: currentBoot(),
  host: host(),
  pidNamespace: pidNamespace(),
  main: { pid: 2, start: identity.start },
  sidecar: null,
  strength: 'strong',
  tag: id,
  leaseFd: null,
  since: 0,
  startedAt: 0,
  politeMs: 50,
  temp: null,
})
const signalled = [signalProcess(identity, 'SIGKILL')]
loadNative()
signalled.push(signalProcess(identity, 'SIGKILL'))
const { ended, left } = await endMembers([identity], { politeMs: 50 })
const recovered = await recoverSessions({ stateDir: folder })
const alive = isRunning(identify(stranger!.pid!)!)
stranger!.kill('SIGKILL')
finish({ reused: true, alive, signalled, ended, left, recovered })

function spawnWithPid(pid: number): ChildProcess | undefined {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1))
    } catch {
      return undefined
    }
    const child = spawn('sleep', ['301'], { stdio: 'ignore' })
    if (child.pid === pid) return child
    child.kill('SIGKILL')
  }
  return undefined
}

function finish(result: unknown): never {
  writeFileSync(1, JSON.stringify(result))
  process.exit()
}
