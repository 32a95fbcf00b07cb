import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { driveAsync, driveSync, type InspectorCall, withSession } from '../../src/inspect/drive.ts'
import { takeSnapshotOver } from '../../src/inspect/heap/take.ts'
import { inspectSuspended } from '../../src/inspect/suspended.ts'

function* twoCalls(): Generator<InspectorCall, string[], unknown> {
  const seen: string[] = []
  for (const method of ['First.call', 'Second.call']) {
    try {
      seen.push(String(yield { method }))
    } catch (error) {
      seen.push(`failed: ${error instanceof Error ? error.message : error}`)
    }
  }
  return seen
}

test('a call that fails is thrown into the inspection, which goes on', async () => {
  const post = (method: string): string => {
    if (method === 'First.call') throw new Error('no')
    return 'yes'
  }
  expect(driveSync(twoCalls(), post)).toEqual(['failed: no', 'yes'])
  expect(await driveAsync(twoCalls(), async (method) => post(method))).toEqual(['failed: no', 'yes'])
})

test('a call without an answer ends at its deadline', async () => {
  const answers = await driveAsync(
    twoCalls(),
    (method) => (method === 'First.call' ? new Promise(() => {}) : Promise.resolve('yes')),
    20,
  )
  expect(answers).toEqual(['failed: First.call did not answer within 20 ms', 'yes'])
})

test('an unknown method of the own inspector is an error with its name', () => {
  expect(() => withSession((post) => post('Nothing.atAll'))).toThrow(/Nothing\.atAll failed/)
})

test('a snapshot that does not come ends at its deadline, one that is garbage at once', async () => {
  const silent = { post: () => new Promise<unknown>(() => {}), on: () => () => {} }
  await expect(takeSnapshotOver(silent, 20)).rejects.toThrow('no heap snapshot within 20 ms')
  const garbage = {
    post: () => new Promise<unknown>(() => {}),
    on: (_event: string, listener: (params: unknown) => void) => {
      queueMicrotask(() => listener({ chunk: 'this is not a snapshot' }))
      return () => {}
    },
  }
  await expect(takeSnapshotOver(garbage, 10_000)).rejects.toThrow('not a heap snapshot')
})

test('another process is looked at over its inspector', async () => {
  const text = `
    class Gate { waiting = []; async pass() { const ticket = 'no 7'; await new Promise((go) => this.waiting.push(go)); return ticket } }
    globalThis.gate = new Gate()
    async function visitor() { await gate.pass() }
    visitor(); setInterval(() => {}, 1000)
    process.on('disconnect', () => process.exit())`
  const child = spawn(process.execPath, ['--inspect=127.0.0.1:0', '-e', text], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const exited = once(child, 'exit')
  let socket: WebSocket | undefined
  try {
    let told = ''
    for await (const chunk of child.stderr!) {
      told += chunk
      if (/ws:\S+/.test(told)) break
    }
    const open = new WebSocket(/ws:\S+/.exec(told)![0])
    socket = open
    await once(open, 'open')
    const calls = new Map<number, (answer: { result?: unknown; error?: { message: string } }) => void>()
    const listeners = new Map<string, (params: unknown) => void>()
    open.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data))
      if (message.id) calls.get(message.id)?.(message)
      else listeners.get(message.method)?.(message.params)
    })
    const client = {
      post: (method: string, params: object = {}) =>
        new Promise<unknown>((resolve, reject) => {
          const id = calls.size + 1
          calls.set(id, ({ result, error }) => (error ? reject(new Error(error.message)) : resolve(result)))
          open.send(JSON.stringify({ id, method, params }))
        }),
      on: (event: string, listener: (params: unknown) => void) => {
        listeners.set(event, listener)
        return () => listeners.delete(event)
      },
    }
    const heap = await takeSnapshotOver(client, 30_000)
    const facts = await driveAsync(inspectSuspended(heap, { budgetMs: 20_000 }), client.post, 20_000)
    const pass = facts.suspended.find((frame) => frame.fn === 'pass')
    expect(pass).toMatchObject({
      at: { line: 2 },
      locals: { ticket: '"no 7"' },
      heldBy: [{ owner: 'Gate', path: 'Gate.waiting[0]' }],
    })
    expect(facts.suspended.find((frame) => frame.id === pass?.awaitedBy[0])?.fn).toBe('visitor')
  } finally {
    socket?.close()
    child.kill('SIGKILL')
    await exited
  }
}, 60_000)
