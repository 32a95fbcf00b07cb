// A main process with a session: starts what its parent asks for and answers. CONFIG in the environment says with what.
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { endMembers } from '../../../src/reap/end.ts'
import { Session } from '../../../src/reap/session.ts'
import { type Command, type MainConfig, type Reply, treeProgram } from '../main-process.ts'

const { id, stateDir, politeMs, temp } = JSON.parse(process.env.CONFIG ?? '') as MainConfig
const tag = { name: 'HARROW_SESSION', value: id }
const session = Session.open({ id, kind: 'vitest', label: 'a test', root: '/', tag, stateDir, politeMs })
if (temp) session.ownTemp(temp)
setInterval(() => {}, 1000)

const commands: Record<Command['do'], (command: Command) => unknown> = {
  tree({ mark, depth = 1 }) {
    return start(process.execPath, [treeProgram, String(depth), mark ?? '']).pid
  },
  shell: ({ script = '' }) => start('/bin/sh', ['-c', script]).pid,
  async inner({ mark }) {
    const innerId = `${id}-inner`
    const config = { id: innerId, stateDir, politeMs } satisfies MainConfig
    const env = { ...process.env, CONFIG: JSON.stringify(config), HARROW_SESSION: id }
    const child = fork(fileURLToPath(import.meta.url), { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    await once(child, 'message')
    child.send({ do: 'shell', script: `sleep 300 & wait; : ${mark}` } satisfies Command)
    const [reply] = (await once(child, 'message')) as [Reply]
    return { pid: child.pid, within: reply.value }
  },
  async end() {
    return await endMembers([], { query: session.query, politeMs: 0 })
  },
  temp: ({ path = '' }) => session.ownTemp(path),
  'late-exit': ({ thread = false }) => lateExit(thread),
  sample: () => session.sample(),
  close: ({ clean = true }) => session.close(clean),
  exit({ clean }) {
    if (clean !== undefined) session.close(clean)
    process.exit()
  },
}

function start(program: string, args: string[]): ChildProcess {
  const { NODE_CHANNEL_FD: _, ...env } = process.env
  const child = spawn(program, args, { stdio: 'ignore', env: { ...env, [tag.name]: tag.value } })
  session.watch()
  return child
}

/** Starts a child that ends with code 7, in this thread or another, and looks at it while its event loop stands still. */
async function lateExit(thread: boolean): Promise<{ pid: number; code: number }> {
  const gate = new Int32Array(new SharedArrayBuffer(8))
  const whenGone = `
    const child = require('node:child_process').spawn('/bin/sh', ['-c', 'exit 7'], { stdio: 'ignore' })
    Atomics.store(gate, 1, child.pid)
    Atomics.notify(gate, 1)
    child.on('exit', (code) => gone(code))`
  if (thread) {
    const code = `
      const { parentPort, workerData: gate } = require('node:worker_threads')
      const gone = (code) => parentPort.postMessage(code)
      ${whenGone}
      Atomics.wait(gate, 0, 0)`
    const worker = new Worker(code, { eval: true, workerData: gate })
    while (Atomics.load(gate, 1) === 0) await new Promise((done) => setTimeout(done, 5))
    lookFor(2300)
    Atomics.store(gate, 0, 1)
    Atomics.notify(gate, 0)
    const [exitCode] = (await once(worker, 'message')) as [number]
    return { pid: Atomics.load(gate, 1), code: exitCode }
  }
  const child = spawn('/bin/sh', ['-c', 'exit 7'], { stdio: 'ignore' })
  const gone = once(child, 'exit')
  lookFor(2300)
  const [exitCode] = (await gone) as [number]
  return { pid: child.pid ?? 0, code: exitCode }
}

/** Samples again and again without giving the event loop a turn. */
function lookFor(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until) {
    session.sample()
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
  }
}

const reply = (value: unknown): void => {
  const { strength, missing, notes, sidecar } = session
  process.send?.({ value, strength, missing, notes, sidecar } satisfies Reply)
}

process.on('message', async (command: Command) => reply(await commands[command.do](command)))
reply('ready')
