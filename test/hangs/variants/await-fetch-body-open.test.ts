// expect: {"id":"await-fetch-body-open","class":"await-never-settles-with-live-resource","test":"downloads a report","culprit":"await-fetch-body-open.test.ts:23","kind":"hang","mustMention":["text"]}
// Headers and a first part came; the handler waits for a job that never tells it to end.
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'

const job = new EventEmitter()

test('downloads a report', async () => {
  const server = createServer((_req, res) => {
    res.write('part 1\n')
    job.once('finished', () => res.end('part 2\n'))
  })
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const res = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/report`)
  job.emit('done')
  const text = await res.text()
  expect(text).toContain('part 2')
})
