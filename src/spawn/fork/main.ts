/** What a `fork` actor runs; its parent's side is {@link file://./parent.ts}. */
import { childMain } from '../../actor/child-main.ts'
import { NodeIpcTransport } from '../../wire/transports/node-ipc.ts'
import { bootProcess } from '../process-entry.ts'

export async function forkMain(): Promise<void> {
  const { aid } = bootProcess()
  await childMain({
    aid,
    method: 'fork',
    ownProcess: true,
    connect: async () => new NodeIpcTransport(process as never, 'the parent'),
    importModule: (url) => import(url),
    exit: (code) => process.exit(code),
  })
}
