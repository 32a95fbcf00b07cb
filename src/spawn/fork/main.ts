/** What a `fork` actor runs; its parent's side is {@link file://./parent.ts}. */
import { Socket } from 'node:net'
import { childMain } from '../../actor/child-main.ts'
import { Intake } from '../../wire/intake.ts'
import { SocketTransport } from '../../wire/transports/socket.ts'
import { bootProcess } from '../process-entry.ts'
import { LINK_FD } from './link-fd.ts'

export async function forkMain(): Promise<void> {
  const { aid } = bootProcess()
  await childMain({
    aid,
    method: 'fork',
    ownProcess: true,
    connect: async () => {
      const intake = new Intake()
      return new SocketTransport(new Socket({ fd: LINK_FD, onread: intake.onread }), 'uds', 'the parent', intake)
    },
    importModule: (url) => import(url),
    exit: (code) => process.exit(code),
  })
}
