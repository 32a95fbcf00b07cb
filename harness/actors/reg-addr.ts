/** Registry addresses that nobody else has. */
import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { activeTransport } from '../backend.ts'

let folder: string | undefined
let count = 0

/**
 * An address for a registry: a socket in a private folder of this worker, or a TCP port that is free and held by a lock file
 * until this process ends, so that no other worker gets it. Each call gives another one.
 *
 * @param transport default: that of the run
 * @example
 * ```ts
 * import { openRoot } from 'harrow'
 * import { regAddr } from 'harrow/vitest'
 *
 * await openRoot({ registryAddrs: [await regAddr()] }, async () => {})
 * ```
 */
export async function regAddr(transport = activeTransport()): Promise<string> {
  if (transport === 'tcp') return `tcp:127.0.0.1:${await lockedPort()}`
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'hrwreg-'))
    folder = made
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
  }
  return `unix:${folder}/${++count}.sock`
}

const ATTEMPTS = 50

async function lockedPort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = await freePort()
    const lock = join(tmpdir(), `harrow-port-${port}.lock`)
    try {
      closeSync(openSync(lock, 'wx', 0o600))
    } catch {
      // Another worker has been given it a moment ago.
      continue
    }
    process.once('exit', () => unlinkSync(lock))
    return port
  }
  throw new Error(`no free port after ${ATTEMPTS} attempts`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
