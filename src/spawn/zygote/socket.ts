/** Where a zygote listens. */
import { chmodSync, linkSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { identify } from '../../process/identity.ts'
import { runtimeDir } from '../../process/runtime-dir.ts'

/**
 * Binds a server to a socket file of its own. A handle removes the file that it was bound to when it is closed, and each child
 * closes its copy: so the file gets another name afterwards.
 *
 * @returns the path; its form is that which the sweep of stale sockets knows
 */
export async function placeSocket(server: Server): Promise<string> {
  const end = `${process.pid}.${identify(process.pid)?.start ?? 0}.sock`
  const bound = join(runtimeDir(), `.zb.${end}`)
  const path = join(runtimeDir(), `zygote.${end}`)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ path: bound }, resolve)
  })
  chmodSync(bound, 0o600)
  linkSync(bound, path)
  unlinkSync(bound)
  return path
}
