import { Worker } from 'node:worker_threads'

const spinner = 'require("node:worker_threads").parentPort.postMessage(0)\nfunction turn() {\n  for (;;) {}\n}\nturn()'
const runner = `const { once } = require('node:events')
const { parentPort } = require('node:worker_threads')
async function job() {
  await once(parentPort, 'message')
}
job()
parentPort.postMessage(0)`

let ready = 0
for (const [name, text] of [
  ['spinner', spinner],
  ['runner', runner],
]) {
  new Worker(text, { eval: true, name }).on('message', () => {
    if (++ready === 2) console.log('ready')
  })
}
