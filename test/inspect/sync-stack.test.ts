import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { attachProcess, listenForInspectorUrl } from '../../src/inspect/attach-process.ts'
import { attachThread } from '../../src/inspect/attach-thread.ts'
import type { InspectorClient } from '../../src/inspect/client.ts'
import { captureSyncStack, type SyncStackCapture } from '../../src/inspect/sync-stack.ts'
import { endProcess, startProcess, startThread, waitsInKernel } from './stuck.ts'

const STATE = `JSON.stringify(globalThis[Symbol.for('harrow.test.state')])`

const fixture = new URL('../fixtures/stuck/kinds.mjs', import.meta.url)
const SPIN_LINE =
  readFileSync(fixture, 'utf8')
    .split('\n')
    .findIndex((line) => line.includes('turns++')) + 1

interface Patient {
  client: InspectorClient
  /** Ends it and waits for the end. */
  end(): Promise<unknown>
}

const open: Patient[] = []

afterEach(async () => {
  for (const { client, end } of open.splice(0)) {
    await client.close()
    await end()
  }
})

async function processPatient(kind: string): Promise<Patient & { child: ChildProcess }> {
  const child = await startProcess(kind)
  try {
    const client = await attachProcess(child.pid, { url: listenForInspectorUrl(child.stderr), deadlineMs: 5000 })
    const patient = { child, client, end: () => endProcess(child) }
    open.push(patient)
    return patient
  } catch (error) {
    await endProcess(child)
    throw error
  }
}

async function threadPatient(kind: string): Promise<Patient & { worker: Worker }> {
  const worker = await startThread(kind)
  const client = await attachThread(worker.threadId)
  const patient = { worker, client, end: () => worker.terminate() }
  open.push(patient)
  return patient
}

/** Its first message comes from its module, behind which Node's own code runs: until its loop has been idle for a while. */
async function rests(worker: Worker): Promise<void> {
  let before = Number.NaN
  const look = (): boolean => {
    const { active, idle } = worker.performance.eventLoopUtilization()
    const still = idle > 0 && Math.abs(active - before) < 1
    before = active
    return still
  }
  await expect.poll(look, { timeout: 20_000, interval: 50 }).toBe(true)
}

const patients = { process: processPatient, thread: threadPatient }

function capture(client: InspectorClient): Promise<SyncStackCapture | undefined> {
  return captureSyncStack(client, { stateExpression: STATE, pauseMs: 5000 })
}

function userFunctions({ stack }: SyncStackCapture): string[] {
  return stack.frames.filter(({ at }) => at?.url.endsWith('kinds.mjs')).map(({ fn }) => fn)
}

describe.each(['process', 'thread'] as const)('the stack of a %s', (where) => {
  test('that spins in a loop is taken twice, with locals, and no microtask turns', async () => {
    const { client } = await patients[where]('loop')
    const taken = (await capture(client))!
    expect(userFunctions(taken)).toEqual(['spin', 'loop'])
    expect(taken.stack.frames[0]).toMatchObject({ fn: 'spin', at: { line: SPIN_LINE } })
    expect(taken.stack.frames[0]?.locals).toMatchObject({ limit: '12', label: '"a \\"label\\""' })
    expect(taken.stack.second.map(({ fn }) => fn)).toContain('spin')
    expect(taken.stack.microtasks).toBe('still')
  })

  test('is read without running a getter or a trap of what the locals hold', async () => {
    const { client } = await patients[where]('loop')
    const options = { stateExpression: 'JSON.stringify({ ran: globalThis.ran ?? [] })' }
    const [first, second] = [await captureSyncStack(client, options), await captureSyncStack(client, options)]
    expect(first?.stack.frames[0]?.locals).toMatchObject({
      getter: '{boom: (getter)}',
      proxy: 'Proxy(Object)',
      failure: 'TypeError: broken',
    })
    expect(second?.state).toEqual({ ran: [] })
  })

  test('brings the state of the worker along', async () => {
    const { client } = await patients[where]('loop')
    const taken = (await capture(client))!
    expect(taken.state).toEqual({ running: 'loop' })
  })

  test.each([
    ['regex', 'regex', 'still'],
    ['json', 'json', 'still'],
    ['atomics', 'atomics', 'still'],
    ['loopAfterAwait', 'loopAfterAwait', 'still'],
    ['microtasks', 'turn', 'turning'],
    ['replacedGlobals', 'turn', 'turning'],
    ['ticks', 'tick', 'turning'],
  ])('that is stuck in %s is taken', async (kind, fn, microtasks) => {
    const { client } = await patients[where](kind)
    const taken = (await capture(client))!
    expect(userFunctions(taken)).toContain(fn)
    expect(taken.stack.microtasks).toBe(microtasks)
  })
})

describe('a target that runs no JavaScript', () => {
  test('has no stack, and a process goes on as before', async () => {
    const { client, child } = await processPatient('idle')
    expect(await captureSyncStack(client, { pauseMs: 200 })).toBeUndefined()
    const answer = await client.post('Runtime.evaluate', { expression: '6 * 7', returnByValue: true })
    expect(answer).toMatchObject({ result: { value: 42 } })
    expect(child.exitCode).toBeNull()
  })

  test('has no stack, and a thread goes on as before', async () => {
    const { client, worker } = await threadPatient('idle')
    await rests(worker)
    expect(await captureSyncStack(client, { pauseMs: 200 })).toBeUndefined()
    worker.postMessage('still there')
    expect(await once(worker, 'message')).toEqual(['still there'])
  })
})

describe('a thread that sits in a system call', () => {
  test('is given up within the bounds and can be left without harm', async () => {
    const { client, worker } = await threadPatient('native')
    await expect.poll(() => waitsInKernel(process.pid, worker.threadId), { timeout: 5000 }).toBe(true)
    await expect(captureSyncStack(client, { pauseMs: 200 })).rejects.toMatchObject({ code: 'HARROW_PROBE' })
    await client.close()
    await worker.terminate()
  })
})
