import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isDead, until } from '../process/sandbox.ts'
import { World } from './world.ts'

interface Check {
  what: string
  level: 'ok' | 'warn' | 'bad'
  words: string
  fix: string | null
}

async function listen(host: string): Promise<{ server: Server; port: number }> {
  const server = createServer().listen(0, host)
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port }
}

/** Below the range from which the system takes ports for other processes meanwhile. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer().listen(port)
    const free = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ])
    if (!free) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

describe.skipIf(process.platform !== 'linux')('harrow preflight', () => {
  let world: World
  beforeEach(() => {
    world = new World()
  })
  afterEach(() => world.end())

  const preflight = async (args: string[] = [], env: Record<string, string> = {}) => {
    const { code, out, err } = await world.harrow(['preflight', '--json', ...args], env)
    const { findings, checks } = JSON.parse(out) as { findings: number; checks: Check[] }
    const of = (what: string): Check | undefined => checks.find((check) => check.what === what)
    return { code, err, findings, checks, of }
  }

  test('is clean where nothing was left and says so for each thing that it looked at', async () => {
    const { code, out, err } = await world.harrow(['preflight'])
    expect({ code, err }, out).toEqual({ code: 0, err: '' })
    for (const what of ['sockets', 'shm', 'cpu', 'strength'])
      expect(out).toMatch(new RegExp(`^(ok|warn) +${what} `, 'm'))
    expect(out).toMatch(/clean\n$/)
    expect(out).not.toContain('\u001b')
    expect(out.split('\n').length).toBeLessThan(30)
  })

  test('tells which ports are free, and who listens on the others', async () => {
    const [taken, six] = [await listen('127.0.0.1'), await listen('::')]
    const free = { port: await freePort() }
    try {
      const ports = [taken, six, free].flatMap(({ port }) => ['--port', String(port)])
      const { code, findings, of } = await preflight(ports)
      expect({ code, findings }).toEqual({ code: 1, findings: 2 })
      const words = `taken: process ${process.pid} `
      expect(of(`port ${taken.port}`)).toMatchObject({ level: 'bad', words: expect.stringContaining(words) })
      expect(of(`port ${taken.port}`)?.words).toContain('listens on 127.0.0.1')
      expect(of(`port ${six.port}`)).toMatchObject({ level: 'bad', words: expect.stringContaining(words) })
      expect(of(`port ${free.port}`)).toEqual({ what: `port ${free.port}`, level: 'ok', words: 'free', fix: null })
    } finally {
      taken.server.close()
      six.server.close()
    }
  })

  test('finds a run that was left, and what to do about it', async () => {
    const run = await world.abandonedRun('sleep 300; :')
    const { code, of } = await preflight()
    expect(code).toBe(1)
    expect(of('leftovers')).toMatchObject({ level: 'bad', fix: 'npx harrow reap --yes' })
    expect(of('leftovers')?.words).toMatch(new RegExp(`^1 dead run, \\d process(?:es)?, 1 temp .* \\(${run.id}\\)$`))
    expect(isDead(run.children[0]!)).toBe(false)

    expect((await world.harrow(['reap', '--yes'])).code).toBe(0)
    expect((await preflight()).code).toBe(0)
  })

  test('does not take a living run for a leftover', async () => {
    await world.startRun('sleep 300; :')
    expect((await preflight()).code).toBe(0)
  })

  test('finds sockets that a dead process left', async () => {
    const path = join(world.temp, 'server.4194305.1.sock')
    const binder = world.node(
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    )
    await until(() => isDead(binder))
    const { code, of } = await preflight()
    expect(code).toBe(1)
    expect(of('sockets')).toMatchObject({ level: 'bad', words: `1 stale socket: ${path}` })
  })

  test('warns of a session file that it cannot read', async () => {
    mkdirSync(world.sessions, { recursive: true, mode: 0o700 })
    const path = join(world.sessions, 'odd.json')
    writeFileSync(path, 'x', { mode: 0o600 })
    const { code, checks } = await preflight()
    expect(code).toBe(0)
    expect(checks).toContainEqual(expect.objectContaining({ level: 'warn', words: `${path} is no JSON` }))
    rmSync(path)
  })

  test('warns of a lower strength, which counts only with --strict', async () => {
    const { code, of } = await preflight([], { HARROW_NATIVE: 'off' })
    expect(code).toBe(0)
    expect(of('strength')).toMatchObject({ level: 'warn', fix: 'npm install -D koffi' })
    expect((await preflight(['--strict'], { HARROW_NATIVE: 'off' })).code).toBe(1)
  })

  test.each<[string, string[], string]>([
    ['port 0', ['--port', '0'], '--port expects a whole number from 1 to 65535, got "0"'],
    ['a port that is too high', ['--port', '65536'], '--port expects'],
    ['a name for a port', ['--port', 'http'], '--port expects'],
    ['an argument', ['3000'], 'expected no argument without an option, got 3000'],
  ])('refuses %s with one sentence and exit code 2', async (_name, args, words) => {
    const { code, out, err } = await world.harrow(['preflight', ...args])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(words)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
  })

  test('explains itself', async () => {
    const { code, out } = await world.harrow(['preflight', '--help'])
    expect(code).toBe(0)
    for (const word of ['--port', '--strict', '--json', 'EXIT CODES']) expect(out).toContain(word)
  })
})
