// expect: {"id":"await-worker-no-reply","class":"await-never-settles-with-live-resource","test":"asks the worker for a sum","culprit":"await-worker-no-reply.test.ts:27","holder":"await-worker-no-reply.test.ts:12","kind":"hang","mustMention":["message","Worker"]}
// The worker knows no operation of that name and keeps silent.
import { Worker } from 'node:worker_threads'
import { afterAll, expect, test } from 'vitest'

const CODE = `
  const { parentPort } = require('node:worker_threads')
  parentPort.on('message', ({ op, a, b }) => { if (op === 'add') parentPort.postMessage(a + b) })
`

class Calculator {
  readonly worker = new Worker(CODE, { eval: true })
  run(op: string, a: number, b: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.worker.once('message', resolve)
      this.worker.once('error', reject)
      this.worker.postMessage({ op, a, b })
    })
  }
}

const calculator = new Calculator()
afterAll(() => calculator.worker.terminate())

test('asks the worker for a sum', async () => {
  expect(await calculator.run('add', 2, 3)).toBe(5)
  expect(await calculator.run('sum', 2, 3)).toBe(5)
})
