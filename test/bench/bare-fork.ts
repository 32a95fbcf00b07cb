// The limit of what a fork of Node can be: as test/bench/fork-server.c, in a Node process that has loaded the modules of argv.
// The child writes its byte and ends; it does not even take the event loop over.
import { readSync, writeSync } from 'node:fs'
import { loadForkCalls } from '../../src/spawn/zygote/syscalls.ts'

const calls = loadForkCalls()
if ('missing' in calls) throw new Error(calls.missing)
for (const module of process.argv.slice(2)) await import(module)
const byte = Buffer.from('r')
const children: number[] = []
writeSync(4, byte)
while (readSync(3, byte) === 1) {
  const pid = calls.fork()
  if (pid === 0) {
    writeSync(4, byte)
    calls.exitNow(0)
  }
  children.push(pid)
  for (let n = children.length; n > 0; n--) {
    const one = children.shift()!
    if (!calls.collect(one)) children.push(one)
  }
}
