import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { attachProcess, listenForInspectorUrl } from '../../src/inspect/attach-process.ts'
import type { InspectorClient } from '../../src/inspect/client.ts'
import { findInspectorUrl } from '../../src/inspect/inspector-url.ts'
import { explainThread } from '../../src/inspect/kernel-wait.ts'
import { inspectProcesses } from '../../src/inspect/other-process.ts'
import { inspectTarget } from '../../src/inspect/target.ts'
import { attachThreads, connectHere, inspectThreads } from '../../src/inspect/threads.ts'
import { commandOf, descendantPids } from '../../src/process/tree.ts'
import { Sandbox, stateOf, until } from '../process/sandbox.ts'
import { endProcess, startProcess, startThread, waitsInKernel } from './stuck.ts'

const ended: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end()
})

async function thread(kind: string): Promise<Worker> {
  const started = await startThread(kind)
  ended.push(() => started.terminate())
  return started
}

function here(): InspectorClient {
  const client = connectHere()
  ended.push(() => client.close())
  return client
}

function sandbox(): Sandbox {
  const box = new Sandbox()
  ended.push(() => box.end())
  return box
}

/** A busy machine must not decide what is seen. */
const PATIENT = { budgetMs: 20_000 }
const answersTo = (worker: Worker): Promise<unknown> =>
  new Promise((resolve) => {
    worker.once('message', resolve)
    worker.postMessage('still there?')
  })

describe('worker threads of this process', () => {
  test('a spinning one shows its line, a waiting one its await, one in a system call neither', async () => {
    const [spins, waits, native] = await Promise.all([thread('loop'), thread('waits'), thread('native')])
    await until(() => waitsInKernel(process.pid, native.threadId))
    const { threads } = await inspectThreads(here(), PATIENT)
    const of = (worker: Worker) => threads.find((one) => one.threadId === worker.threadId)
    expect(of(spins)).toMatchObject({ state: 'blocked', name: 'stuck in loop', async: null })
    expect(of(spins)?.sync?.frames[0]).toMatchObject({ fn: 'spin', at: { url: expect.stringMatching(/kinds\.mjs$/) } })
    expect(of(waits)).toMatchObject({ state: 'idle', sync: null })
    const [suspended] = of(waits)?.async?.suspended ?? []
    expect(suspended).toMatchObject({ fn: 'waits', user: true, at: { url: expect.stringMatching(/kinds\.mjs$/) } })
    expect(of(native)).toMatchObject({ state: 'native', sync: null, async: null })
    expect(of(native)?.notes.join()).toContain('a system call or native code has it')
    expect(await answersTo(waits)).toBe('still there?')
  })

  test('a thread whose promise jobs turn for ever is blocked, not idle', async () => {
    const turns = await thread('microtasks')
    const { threads } = await inspectThreads(here(), { ...PATIENT, only: (one) => one.threadId === turns.threadId })
    expect(threads).toMatchObject([{ state: 'blocked', sync: { microtasks: 'turning' } }])
  })

  test('only so many are looked at, and the others are counted', async () => {
    const made = await Promise.all([thread('idle'), thread('idle')])
    const ids = made.map(({ threadId }) => threadId)
    const only = ({ threadId }: { threadId: number }) => ids.includes(threadId)
    const { threads, notes } = await inspectThreads(here(), { ...PATIENT, only, most: 1 })
    expect(threads).toMatchObject([{ state: 'idle', threadId: Math.min(...ids) }])
    expect(notes).toEqual(['1 of 2 worker threads are left out'])
  })

  test('can be ended after a look, also a spinning one', async () => {
    const spins = await thread('loop')
    const client = here()
    const { threads, close } = await attachThreads(client)
    const found = threads.find((one) => one.threadId === spins.threadId)
    expect(await inspectTarget(found!.client, PATIENT)).toMatchObject({ state: 'blocked' })
    await close()
    await client.close()
    expect(await spins.terminate()).toBe(1)
    await expect(found!.client.post('Runtime.enable')).rejects.toThrow('the connection was closed')
  })

  test('a heap that would take longer than there is time for is not read', async () => {
    const waits = await thread('waits')
    const { threads } = await inspectThreads(here(), { budgetMs: 1, only: (one) => one.threadId === waits.threadId })
    expect(threads[0]?.async?.suspended ?? []).toEqual([])
    expect(threads[0]?.notes).not.toEqual([])
  })
})

describe('another process', () => {
  test('its worker threads are seen over a connection to its main thread', async () => {
    const target = await startProcess('threads')
    ended.push(() => endProcess(target))
    const url = listenForInspectorUrl(target.stderr)
    const client = await attachProcess(target.pid, { url, deadlineMs: 10_000 })
    const { threads } = await inspectThreads(client, PATIENT)
    await client.close()
    const seen = threads.map(({ threadId, state, sync, async }) => [
      threadId,
      state,
      sync?.frames[0]?.fn ?? async?.suspended[0]?.fn,
    ])
    expect(seen).toEqual([
      [1, 'blocked', 'spin'],
      [2, 'idle', 'waits'],
    ])
    expect(target.exitCode).toBeNull()
  })

  describe.skipIf(process.platform !== 'linux')('seen by its pid', () => {
    test('those that share a port are attached to one by one, and are left as they were', async () => {
      const box = sandbox()
      const { port } = await freePort()
      const program = (fn: string) =>
        `async function ${fn}() { await new Promise((r) => { globalThis.go = r }) } ${fn}(); setInterval(() => {}, 60000)`
      const pids = ['first', 'second'].map((fn) => nodeAt(box, port, program(fn)))
      await until(() => pids.every(isUp))
      const looks = await inspectProcesses(pids, PATIENT)
      expect(looks.map(({ pid, main }) => [pid, main?.async?.suspended[0]?.fn])).toEqual([
        [pids[0], 'first'],
        [pids[1], 'second'],
      ])
      // Not stopped and not paused: it goes back to its event loop, which a busy machine lets it do late.
      await until(() => pids.every((pid) => stateOf(pid) === 'S'))
      for (const pid of pids) expect(await findInspectorUrl(pid)).toBeUndefined()
    })

    test('what is no Node process, or sits in a system call, gets no signal and the view of the kernel', async () => {
      const box = sandbox()
      const sleeps = box.start('sleep', ['83'])
      const syncs = box.node(`require('child_process').execSync('sleep 84')`)
      await until(() => descendantPids(syncs).some((pid) => commandOf(pid) === 'sleep 84'))
      const [first, second] = await inspectProcesses([sleeps, syncs], PATIENT)
      expect(first).toMatchObject({ main: null, notes: ['not attached: it is no Node process'] })
      expect(first?.kernel[0]).toMatch(/^main thread is blocked in clock_nanosleep/)
      expect(second?.main).toBeNull()
      expect(second?.notes[0]).toMatch(/^not attached: its main thread is in a system call/)
      expect(second?.kernel[0]).toContain('`sleep 84`')
      expect([sleeps, syncs].map(stateOf)).toEqual(['S', 'S'])
      expect(await inspectProcesses([0x7fff_fff0], PATIENT)).toEqual([])
    })

    test('a port that somebody else has is left alone', async () => {
      const box = sandbox()
      const { port, server } = await freePort()
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      const pid = nodeAt(box, port, 'setInterval(() => {}, 60000)')
      await until(() => isUp(pid))
      const [look] = await inspectProcesses([pid], PATIENT)
      expect(look).toMatchObject({ main: null, notes: [`not attached: port ${port} of its inspector is taken`] })
    })
  })
})

/** A port that nobody has, and the server that had it. */
async function freePort(): Promise<{ port: number; server: Server }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  ended.push(() => server.close())
  return { port, server }
}

const nodeAt = (box: Sandbox, port: number, code: string): number =>
  box.start(process.execPath, [`--inspect-port=${port}`, '-e', code])

/** It has come to its event loop, and takes SIGUSR1. */
const isUp = (pid: number): boolean => /^main thread is idle in its event loop/.test(explainThread(pid) ?? '')
