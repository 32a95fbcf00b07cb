import { execFile, execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer } from '../src/server.ts'

const client = fileURLToPath(new URL('../src/ask.js', import.meta.url))
let server: Awaited<ReturnType<typeof startServer>>

beforeAll(async () => {
  server = await startServer(() => 3)
})

afterAll(() => server.close())

// Hangs: the server lives in this process, and this process is blocked until the client has its answer.
test('answers the command-line client', () => {
  const out = execFileSync(process.execPath, [client, server.url, 'lamp'], { encoding: 'utf8', timeout: 45_000 })
  expect(out.trim()).toBe('3')
})

test('answers the command-line client that is not waited for synchronously', { timeout: 10_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [client, server.url, 'lamp'])
  expect(stdout.trim()).toBe('3')
})
