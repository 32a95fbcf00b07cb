// expect: {"id":"await-worker-online-exit","class":"await-never-settles-with-live-resource","test":"runs the job to its end","culprit":"await-worker-online-exit.test.ts:23","holder":"await-worker-online-exit.test.ts:15","kind":"hang","mustMention":["exit","Worker"]}
// The job is done, but an interval keeps the worker thread alive.
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'

const JOB = `
  const { parentPort } = require('node:worker_threads')
  setInterval(() => {}, 500)
  parentPort.postMessage('done')
`

function run(code: string): Promise<{ answers: unknown[]; code: number }> {
  return new Promise((resolve, reject) => {
    const answers: unknown[] = []
    const worker = new Worker(code, { eval: true })
    worker.on('message', (answer) => answers.push(answer))
    worker.on('error', reject)
    worker.on('exit', (code) => resolve({ answers, code }))
  })
}

test('runs the job to its end', async () => {
  const { answers } = await run(JOB)
  expect(answers).toEqual(['done'])
})
