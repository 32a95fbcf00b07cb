// expect: {"id":"await-events-on-iterator","class":"await-never-settles-with-live-resource","test":"collects three readings","culprit":"await-events-on-iterator.test.ts:17","holder":"await-events-on-iterator.test.ts:15","kind":"hang","mustMention":["message"]}
// `for await` over a worker's messages; the worker sends two of the three that are expected.
import { on } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'

const SENSOR = `
  const { parentPort } = require('node:worker_threads')
  parentPort.on('close', () => {})
  for (const n of [1, 2]) parentPort.postMessage(n)
  setInterval(() => {}, 1000)
`

test('collects three readings', async () => {
  const sensor = new Worker(SENSOR, { eval: true })
  const readings: number[] = []
  for await (const [reading] of on(sensor, 'message')) {
    readings.push(reading as number)
    if (readings.length === 3) break
  }
  await sensor.terminate()
  expect(readings).toEqual([1, 2, 3])
})
