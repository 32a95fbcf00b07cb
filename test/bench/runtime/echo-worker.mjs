import { parentPort, workerData } from 'node:worker_threads'

if (workerData === 'birpc') {
  const { createBirpc } = await import('birpc')
  createBirpc(
    { echo: async (value) => value },
    { post: (data) => parentPort.postMessage(data), on: (fn) => parentPort.on('message', fn) },
  )
} else if (workerData === 'comlink') {
  const [{ expose }, { default: nodeEndpoint }] = await Promise.all([
    import('comlink'),
    import('comlink/dist/esm/node-adapter.mjs'),
  ])
  expose({ echo: async (value) => value }, nodeEndpoint(parentPort))
} else parentPort.on('message', ({ id, args }) => parentPort.postMessage({ id, result: args }))
