/**
 * First process of the pid namespace of an isolated command: `supervise-init GRACE_MS COMMAND [ARGS]`, started by
 * `IsolatedCommand` with a pipe at descriptor 3. Who loses its parent in the namespace becomes a child of this process.
 */
import { Socket } from 'node:net'
import { isNative, loadNative } from '../process/native.ts'
import { Command } from './supervise-command.ts'
import { insideReady } from './supervise-isolate.ts'
import { Subtree } from './supervise-subtree.ts'

const TELL_MS = 2000

const [graceMs = '', name = '', ...args] = process.argv.slice(2)
const pipe = new Socket({ fd: 3 }).unref()
// The outer supervisor is gone: its sidecar ends us.
pipe.on('error', () => {})

const layer = loadNative()
const hurry = new AbortController()
const command = new Command(name, args, { env: process.env, late: () => hurry.abort() })
const subtree = new Subtree({
  // Node itself waits for the command.
  untouched: ({ pid }) => pid === command.pid,
  // Without the native layer zombies stay until the namespace goes, which is soon.
  collect: (pid) => isNative(layer) && layer.collect(pid),
})
process.on('SIGCHLD', () => subtree.collectDead())
pipe.write(insideReady)

const end = await command.ended
const inside = await subtree.end({ graceMs: Number(graceMs), hurry: hurry.signal })
setTimeout(() => process.exit(end.code), TELL_MS)
pipe.end(JSON.stringify({ end, inside }), () => process.exit(end.code))
