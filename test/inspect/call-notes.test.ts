import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type CallNotes, noteCalls } from '../../src/inspect/call-notes.ts'

describe('the notes of calls', () => {
  let notes: CallNotes
  let child: ChildProcess | undefined

  beforeEach(() => {
    notes = noteCalls()
  })
  afterEach(() => {
    notes.close()
    child?.kill('SIGKILL')
    child = undefined
  })

  const sleeper = (): ChildProcess => {
    child = spawn('sleep', ['61'], { stdio: 'ignore', timeout: 60_000, detached: true })
    return child
  }
  const here = expect.objectContaining({
    at: expect.objectContaining({ url: expect.stringContaining('call-notes.test') }),
  })

  test('have each signal that was sent, to a child, a process or a group, with its place', async () => {
    const one = sleeper()
    one.kill('SIGCONT')
    process.kill(one.pid!, 18)
    process.kill(-one.pid!, 'SIGCONT')
    one.kill()
    await once(one, 'exit')
    expect(notes.signals().map(({ pid, signal }) => [pid, signal])).toEqual([
      [one.pid, 'SIGCONT'],
      [one.pid, process.platform === 'linux' ? 'SIGCONT' : expect.any(String)],
      [-one.pid!, 'SIGCONT'],
      [one.pid, 'SIGTERM'],
    ])
    for (const { frames } of notes.signals()) expect(frames[0]).toEqual(here)
  })

  test('leave out signal 0, and signals that could not be sent', async () => {
    const one = sleeper()
    process.kill(one.pid!, 0)
    one.kill(0)
    one.kill('SIGKILL')
    await once(one, 'exit')
    expect(one.kill('SIGTERM')).toBe(false)
    expect(() => process.kill(one.pid!, 'SIGTERM')).toThrow('ESRCH')
    expect(() => process.kill(process.pid, 'SIGNONE')).toThrow('SIGNONE')
    expect(notes.signals().map(({ signal }) => signal)).toEqual(['SIGKILL'])
  })

  test('have each call of fetch with its port and place', async () => {
    const server = createServer((_, response) => response.end('ok'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('ok')
    await expect(fetch('not a url')).rejects.toThrow('URL')
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
    expect(notes.fetches().map((one) => one.port)).toEqual([port, null])
    expect(notes.fetches()[0]!.frames[0]).toEqual(here)
  })

  test('hide themselves: names, lengths and properties stay, and the originals come back', () => {
    const wrapped = process.kill
    notes.close()
    expect(process.kill).not.toBe(wrapped)
    const looks = (it: object) => Reflect.ownKeys(it).map((key) => [key, Reflect.get(it, key)])
    expect(looks(wrapped)).toEqual(looks(process.kill))
  })

  test('keep no more than the last hundred', () => {
    for (let i = 0; i < 130; i++) fetch(`http://127.0.0.1:1/${i}`).catch(() => {})
    expect(notes.fetches()).toHaveLength(100)
  })
})
