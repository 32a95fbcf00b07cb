/** What a `spawn` actor runs; its parent's side is {@link file://./parent.ts}. */
import { childMain } from '../../actor/child-main.ts'
import { parseAddress } from '../../wire/address.ts'
import { dial } from '../../wire/listener.ts'
import { bootProcess, DIAL_MS } from '../process-entry.ts'

export async function spawnMain(): Promise<void> {
  const { aid, parentAddr } = bootProcess()
  await childMain({
    aid,
    method: 'spawn',
    ownProcess: true,
    connect: () => dial(parseAddress(parentAddr), { limitMs: DIAL_MS }),
    importModule: (url) => import(url),
    exit: (code) => process.exit(code),
  })
}
