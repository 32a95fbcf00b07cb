import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import {
  attachProcess,
  inspectorChatterFilter,
  listenForInspectorUrl,
  withoutInspectorChatter,
} from '../../src/inspect/attach-process.ts'
import { attachThread } from '../../src/inspect/attach-thread.ts'
import { createWire } from '../../src/inspect/client.ts'
import { findInspectorUrl } from '../../src/inspect/inspector-url.ts'
import { endProcess, type StuckProcess, startProcess, startThread, waitsInKernel } from './stuck.ts'

const ended: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end()
})

async function child(...args: Parameters<typeof startProcess>): Promise<StuckProcess> {
  const started = await startProcess(...args)
  ended.push(() => endProcess(started))
  return started
}

async function thread(kind: string): Promise<Worker> {
  const started = await startThread(kind)
  ended.push(() => started.terminate())
  return started
}

const evaluate = { expression: '6 * 7', returnByValue: true }
const answer = { result: { value: 42 } }
const probeError = (message: RegExp) =>
  expect.objectContaining({ code: 'HARROW_PROBE', message: expect.stringMatching(message) })

describe('attachProcess', () => {
  test('opens the inspector on a free port, talks to it, and has it closed again', async () => {
    const target = await child('idle')
    const url = listenForInspectorUrl(target.stderr)
    const client = await attachProcess(target.pid, { url, deadlineMs: 5000 })
    const address = new URL(await url)
    expect(address.hostname).toBe('127.0.0.1')
    expect(address.port).not.toBe('9229')
    expect(await client.post('Runtime.evaluate', evaluate)).toMatchObject(answer)
    await client.close()
    await client.close()
    expect(await findInspectorUrl(target.pid)).toBeUndefined()
    expect(target.exitCode).toBeNull()
    await expect(client.post('Runtime.evaluate', evaluate)).rejects.toEqual(
      probeError(/^Runtime.evaluate was not sent/),
    )
  })

  test('closes the inspector of a process that spins, and can open it again', async () => {
    const target = await child('loop')
    for (let time = 0; time < 2; time++) {
      const url = listenForInspectorUrl(target.stderr)
      const client = await attachProcess(target.pid, { url, deadlineMs: 5000 })
      expect(await client.post('Runtime.evaluate', evaluate)).toMatchObject(answer)
      await client.close()
      expect(await findInspectorUrl(target.pid)).toBeUndefined()
    }
  })

  test('finds the inspector by itself when nobody reads stderr', async () => {
    const target = await child('idle')
    const client = await attachProcess(target.pid, { deadlineMs: 5000 })
    const { result } = (await client.post('Runtime.evaluate', { expression: 'process.pid' })) as {
      result: { value: number }
    }
    expect(result.value).toBe(target.pid)
    await client.close()
    expect(await findInspectorUrl(target.pid)).toBeUndefined()
  })

  test('leaves an inspector open that was open before', async () => {
    const target = await child('idle', { flags: ['--inspect=127.0.0.1:0'] })
    const client = await attachProcess(target.pid, { deadlineMs: 5000 })
    expect(await client.post('Runtime.evaluate', evaluate)).toMatchObject(answer)
    await client.close()
    expect(await findInspectorUrl(target.pid)).toMatch(/^ws:/)
  })

  test('gives up on a process with a SIGUSR1 listener of its own', async () => {
    const target = await child('idle', { handler: true })
    const url = listenForInspectorUrl(target.stderr)
    await expect(attachProcess(target.pid, { url, deadlineMs: 200 })).rejects.toEqual(
      probeError(/^the inspector did not start within 200 ms$/),
    )
    expect(target.exitCode).toBeNull()
  })

  test('gives up on a process that takes no SIGUSR1', async () => {
    const target = await child('idle', { flags: ['--disable-sigusr1'] })
    await expect(attachProcess(target.pid, { deadlineMs: 200 })).rejects.toEqual(probeError(/inspector/))
    expect(target.exitCode).toBeNull()
  })

  test('closes an inspector that comes up when nobody waits any more', async () => {
    const target = await child('native')
    await expect.poll(() => waitsInKernel(target.pid, 0), { timeout: 5000 }).toBe(true)
    const url = listenForInspectorUrl(target.stderr)
    await expect(attachProcess(target.pid, { url, deadlineMs: 200 })).rejects.toEqual(probeError(/did not start/))
    await url
    await expect.poll(() => findInspectorUrl(target.pid), { timeout: 5000 }).toBeUndefined()
  }, 20_000)

  test('does not signal a process that SIGUSR1 would end', async () => {
    const { spawn } = await import('node:child_process')
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore' })
    ended.push(() => endProcess(stranger))
    await once(stranger, 'spawn')
    if (process.platform !== 'linux') return
    await expect
      .poll(() => execFileSync('ps', ['-o', 'comm=', '-p', String(stranger.pid)], { encoding: 'utf8' }).trim())
      .toBe('sleep')
    await expect(attachProcess(stranger.pid!, { deadlineMs: 200 })).rejects.toEqual(probeError(/would be ended/))
    expect(stranger.signalCode).toBeNull()
  })

  test.each(['ws://192.0.2.1:9229/x', 'wss://127.0.0.1:9229/x', 'http://127.0.0.1:9229/x', 'nonsense'])(
    'refuses to connect to %s',
    async (address) => {
      const target = await child('idle')
      await expect(attachProcess(target.pid, { url: Promise.resolve(address), deadlineMs: 1000 })).rejects.toEqual(
        probeError(/refused|not an inspector address/),
      )
    },
  )

  test('does not wait for a server that accepts and says nothing', async () => {
    const target = await child('idle')
    const silent: Server = createServer((socket) => {
      ended.push(async () => {
        socket.destroy()
      })
    }).listen(0, '127.0.0.1')
    ended.push(async () => {
      silent.close()
    })
    await once(silent, 'listening')
    const { port } = silent.address() as { port: number }
    await expect(
      attachProcess(target.pid, { url: async () => `ws://127.0.0.1:${port}/x`, deadlineMs: 300 }),
    ).rejects.toEqual(probeError(/did not answer/))
  })
})

describe('attachThread', () => {
  test('finds the thread by its id among several, also two at a time', async () => {
    const [first, second] = await Promise.all([thread('idle'), thread('loop')])
    const clients = await Promise.all([attachThread(first.threadId), attachThread(second.threadId)])
    const expression = "process.getBuiltinModule('node:worker_threads').threadId"
    const ids = await Promise.all(clients.map((client) => client.post('Runtime.evaluate', { expression })))
    expect(ids).toMatchObject([{ result: { value: first.threadId } }, { result: { value: second.threadId } }])
    await Promise.all(clients.map((client) => client.close()))
  })

  test('resumes a paused thread before it lets go, so that the thread can be ended', async () => {
    const worker = await thread('loop')
    const client = await attachThread(worker.threadId)
    const paused = new Promise((resolve) => client.on('Debugger.paused', resolve))
    await client.post('Debugger.enable')
    await client.post('Debugger.pause')
    await paused
    await Promise.all([client.close(), client.close()])
    await worker.terminate()
  })

  test('can be attached again after it was closed', async () => {
    const worker = await thread('idle')
    for (let time = 0; time < 2; time++) {
      const client = await attachThread(worker.threadId)
      expect(await client.post('Runtime.evaluate', evaluate)).toMatchObject(answer)
      await client.close()
    }
  })

  test('is refused while somebody else is attached', async () => {
    const worker = await thread('idle')
    const client = await attachThread(worker.threadId)
    await expect(attachThread(worker.threadId)).rejects.toEqual(probeError(/inspected already/))
    await client.close()
  })

  test('is refused for a thread that does not exist', async () => {
    await expect(attachThread(1_000_000)).rejects.toEqual(probeError(/no worker thread 1000000/))
  })

  test('fails calls in flight when the thread ends', async () => {
    const worker = await thread('idle')
    const client = await attachThread(worker.threadId)
    const never = client.post('Runtime.evaluate', { expression: 'new Promise(() => {})', awaitPromise: true }, 10_000)
    const failure = never.catch((error: unknown) => error)
    await client.post('Runtime.evaluate', evaluate)
    await worker.terminate()
    expect(await failure).toEqual(probeError(/^Runtime.evaluate (was not answered|failed)/))
    await client.close()
  })
})

describe('a call of the client', () => {
  test('names its method when no answer comes', async () => {
    const wire = createWire(() => {})
    await expect(wire.post('Debugger.enable', {}, 10)).rejects.toEqual(
      probeError(/^Debugger.enable was not answered within 10 ms$/),
    )
  })

  test('names its method when the answer is an error, and is deaf to what is no message', async () => {
    const sent: string[] = []
    const wire = createWire((message) => sent.push(message))
    const call = wire.post('Debugger.pause')
    for (const noise of ['', '{', 'null', '7', '{"id":99,"result":{}}']) wire.receive(noise)
    wire.receive(JSON.stringify({ id: JSON.parse(sent[0]!).id, error: { code: -32000, message: 'no' } }))
    await expect(call).rejects.toEqual(probeError(/^Debugger.pause failed: no$/))
  })
})

describe('the lines of the inspector', () => {
  const chatter = [
    'Debugger listening on ws://127.0.0.1:41234/0c1b-22\n',
    'For help, see: https://nodejs.org/en/docs/inspector\n',
    'Debugger attached.\n',
    'Waiting for the debugger to disconnect...\n',
    'Debugger ending on ws://127.0.0.1:41234/0c1b-22\n',
  ].join('')
  const user = 'Debugger attached. Not.\nFor help, see: README\n  Debugger attached.\nDebugger\n\nlast'

  test('are dropped wherever the text is cut, and nothing else is', () => {
    const whole = `first\n${chatter}${user}`
    for (let cut = 0; cut <= whole.length; cut++) {
      const filter = withoutInspectorChatter()
      const shown = filter.push(whole.slice(0, cut)) + filter.push(whole.slice(cut)) + filter.flush()
      expect(shown).toBe(`first\n${user}`)
    }
  })

  test('are dropped when they come character by character', () => {
    const filter = withoutInspectorChatter()
    const shown = [...`${chatter}${user}`].map((piece) => filter.push(piece)).join('') + filter.flush()
    expect(shown).toBe(user)
  })

  test('hold nothing of a prompt back', () => {
    const filter = withoutInspectorChatter()
    expect(filter.push('Password: ')).toBe('Password: ')
    expect(filter.push('Debugger attached.\n')).toBe('Debugger attached.\n')
  })

  test('leave the bytes of the rest as they are', async () => {
    const filter = inspectorChatterFilter()
    const bytes = Buffer.from([0xff, 0xfe, 0x0a, 0xe2, 0x82, 0xac, 0x0a])
    filter.write(bytes.subarray(0, 4))
    filter.write(bytes.subarray(4))
    filter.end('Debugger attached.\n')
    const chunks: Buffer[] = []
    for await (const chunk of filter) chunks.push(chunk)
    expect(Buffer.concat(chunks)).toEqual(bytes)
  })

  test('tell the address although others read the stream as well', async () => {
    const stderr = new PassThrough()
    const all = text(stderr)
    const url = listenForInspectorUrl(stderr)
    stderr.write('noise\nDebugger listening on ws://127.0.0.1:41')
    await sleep(0)
    stderr.end('234/abc\nmore\n')
    expect(await url).toBe('ws://127.0.0.1:41234/abc')
    expect(await all).toBe('noise\nDebugger listening on ws://127.0.0.1:41234/abc\nmore\n')
  })

  test('fail the wait for the address when the stream ends or the caller gives up', async () => {
    const stderr = new PassThrough()
    const url = listenForInspectorUrl(stderr)
    stderr.destroy()
    await expect(url).rejects.toEqual(probeError(/stderr ended/))
    const stop = new AbortController()
    const other = listenForInspectorUrl(new PassThrough(), { signal: stop.signal })
    stop.abort()
    await expect(other).rejects.toEqual(probeError(/stderr/))
  })
})
