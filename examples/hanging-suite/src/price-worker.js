import { parentPort } from 'node:worker_threads'

parentPort.on('message', ({ id, basket }) => {
  const cents = basket.reduce((sum, { count, price }) => sum + count * price, 0)
  parentPort.postMessage({ id, cents })
})
