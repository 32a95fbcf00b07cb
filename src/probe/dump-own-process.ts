/** A dump of this very process, taken by a worker thread of it and written to a file. */
import { Session } from 'node:inspector'
import { resolve } from 'node:path'
import { renderDump } from '../dump/render.ts'
import type { DumpRecord } from '../dump/schema.ts'
import { writeDump } from '../dump/write.ts'
import { writeProblem, writeWhole } from '../dump/write-file.ts'
import { clientOfSession } from '../inspect/session-client.ts'
import type { ProcessFacts } from './facts.ts'
import { blankFacts, lookAtThreads } from './look-at-threads.ts'
import { lookFromOutside, permitted } from './outside.ts'
import { programRecord } from './record.ts'
import { Scripts } from './scripts.ts'
import { type Begin, WATCHDOG_NAME, type Watched } from './watchdog-messages.ts'

/** To be called from a worker thread. Never rejects. */
export async function dumpOwnProcess(watch: Begin): Promise<{ path: string } | { error: string }> {
  try {
    const scripts = new Scripts()
    const facts = await look(watch, scripts)
    return write(
      watch,
      programRecord(facts, scripts, { redact: watch.redact, again: `npx harrow dump ${process.pid}` }),
    )
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

async function look(watch: Begin, scripts: Scripts): Promise<ProcessFacts> {
  const { redact, heapLimit } = watch
  const began = performance.now()
  const at = new Date().toISOString()
  const facts = { ...blankFacts(await lookFromOutside(await permitted(process.pid)), at), reason: reasonOf(watch) }
  const session = new Session()
  try {
    session.connectToMainThread()
    const client = clientOfSession(session)
    try {
      await lookAtThreads(client, facts, scripts, { redact, heapLimit, without: WATCHDOG_NAME })
    } finally {
      await client.close()
    }
  } catch (error) {
    facts.notes.push(`nothing was seen from inside: ${error instanceof Error ? error.message : String(error)}`)
  }
  facts.tookMs = performance.now() - began
  return facts
}

function reasonOf(watch: Watched): string {
  switch (watch.what) {
    case 'deadline':
      return `dumpOnHang: not done after ${watch.ms / 1000} s`
    case 'loop':
      return `dumpOnHang: the event loop has not turned for ${watch.ms / 1000} s`
    case 'signal':
      return `dumpOnSignal: ${watch.signal} came`
  }
}

function write({ path }: Begin, record: DumpRecord): { path: string } | { error: string } {
  if (path === null) {
    const { file, pid } = record.header
    const written = writeDump(resolve('.harrow', 'dumps'), { file: file.path, test: 'process', pid }, record)
    return 'error' in written ? written : { path: written.txt }
  }
  try {
    writeWhole(path, path.endsWith('.json') ? `${JSON.stringify(record, null, 2)}\n` : renderDump(record))
    return { path }
  } catch (error) {
    return { error: writeProblem('the dump', path, error) }
  }
}
