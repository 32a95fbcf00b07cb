/** What a `thread` actor runs; its parent's side is {@link file://./parent.ts}. */

import { childMain } from '../../actor/child-main.ts'
import { setTick } from '../../process/clean.ts'
import { PortTransport } from '../../wire/transports/port.ts'
import type { ThreadStart } from './parent.ts'

const BEAT_MS = 250

export async function threadMain(): Promise<void> {
  // Not at the top: a process that starts no thread would load it with the rest of the runtime.
  const { workerData } = process.getBuiltinModule('node:worker_threads')
  const { name, uuid, port, heartbeat } = workerData as ThreadStart
  const beats = new Int32Array(heartbeat)
  setTick(() => Atomics.add(beats, 0, 1), BEAT_MS).unref()
  await childMain({
    aid: { name, uuid },
    method: 'thread',
    ownProcess: false,
    connect: async () => new PortTransport(port, 'the parent'),
    importModule: (url) => import(url),
    exit: (code) => process.exit(code),
  })
}
