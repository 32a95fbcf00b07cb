// Bare start: loads the same module as an actor, and answers one message.
import { isMainThread, parentPort } from 'node:worker_threads'
import { echo } from './tasks.mjs'

if (isMainThread) process.on('message', async (value) => process.send(await echo(value)))
else parentPort.on('message', async (value) => parentPort.postMessage(await echo(value)))
