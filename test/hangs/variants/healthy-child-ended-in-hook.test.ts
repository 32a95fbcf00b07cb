// expect: {"id":"healthy-child-ended-in-hook","class":"none","test":"talks to the service","culprit":null,"kind":"healthy","mustMention":[]}
// A service process lives from beforeAll to afterAll.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'

let service: ChildProcess

beforeAll(async () => {
  service = spawn(process.execPath, ['-e', 'process.stdin.pipe(process.stdout)'], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(service, 'spawn')
})

afterAll(async () => {
  service.kill('SIGKILL')
  await once(service, 'exit')
})

test('talks to the service', async () => {
  service.stdin!.write('ping')
  const [answer] = await once(service.stdout!, 'data')
  expect(String(answer)).toBe('ping')
})

test('talks to it again', async () => {
  service.stdin!.write('pong')
  const [answer] = await once(service.stdout!, 'data')
  expect(String(answer)).toBe('pong')
})
