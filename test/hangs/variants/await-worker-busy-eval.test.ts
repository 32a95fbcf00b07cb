// expect: {"id":"await-worker-busy-eval","class":"await-never-settles-with-live-resource","test":"hashes in a thread","culprit":"await-worker-busy-eval.test.ts:14","holder":"await-worker-busy-eval.test.ts:13","kind":"hang","mustMention":["event loop"]}
// The code of the thread is a text, so its loop is in no file.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'

const code = `const end = Date.now() + 60000
let n = 0
while (Date.now() < end) n++
require('node:worker_threads').parentPort.postMessage(n)`

test('hashes in a thread', async () => {
  const worker = new Worker(code, { eval: true })
  const [n] = await once(worker, 'message')
  expect(n).toBeGreaterThan(0)
})
