// expect: {"id":"healthy-worker-and-streams","class":"none","test":"streams through a worker","culprit":null,"kind":"healthy","mustMention":[]}
// A worker thread that answers slowly and is terminated, and a web stream that is read slowly.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'

const CODE = `
  const { parentPort } = require('node:worker_threads')
  parentPort.on('message', (n) => setTimeout(() => parentPort.postMessage(n * 2), 400))
`

test('streams through a worker', async () => {
  const worker = new Worker(CODE, { eval: true })
  const numbers = new ReadableStream<number>({
    start(controller) {
      for (const n of [1, 2]) controller.enqueue(n)
      controller.close()
    },
  })
  const doubled: number[] = []
  for await (const n of numbers) {
    worker.postMessage(n)
    const [answer] = await once(worker, 'message')
    doubled.push(answer)
    await sleep(50)
  }
  await worker.terminate()
  expect(doubled).toEqual([2, 4])
})
