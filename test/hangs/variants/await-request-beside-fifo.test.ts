// expect: {"id":"await-request-beside-fifo","class":"await-never-settles-with-live-resource","test":"asks for the state","culprit":"await-request-beside-fifo.test.ts:36","holder":"await-request-beside-fifo.test.ts:24","kind":"hang","mustMention":["response"]}
// A follower opens a FIFO in the background, which is as it should be; the request gets no answer.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const fifo = join(mkdtempSync(join(tmpdir(), 'h2-follow-')), 'log')
execFileSync('mkfifo', [fifo])
const lines: string[] = []

async function follow(path: string): Promise<void> {
  await using file = await open(path, 'r')
  for await (const line of file.readLines()) lines.push(line)
}

function state(port: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: '/status' }, resolve).on('error', reject)
  })
}

test('asks for the state', async () => {
  spawn('sh', ['-c', `sleep 60; echo late > ${fifo}`], { stdio: 'ignore' }).unref()
  void follow(fifo)
  const server = createServer((req, res) => {
    if (req.url === '/state') res.end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const response = await state((server.address() as AddressInfo).port)
  expect(response.statusCode).toBe(200)
  server.close()
})
