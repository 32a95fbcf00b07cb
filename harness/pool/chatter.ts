import type { Readable, Writable } from 'node:stream'
import { withoutInspectorChatter } from '../../src/inspect/attach-process.ts'

const quiet = new WeakSet<Readable>()

/**
 * Node writes "Debugger listening on ws://..." and the like to the stderr of a process that is attached to; vitest
 * pipes that to the terminal. From here on those lines are left out.
 */
export function quietInspector(stderr: Readable, terminal: Writable): void {
  if (quiet.has(stderr)) return
  quiet.add(stderr)
  stderr.unpipe(terminal as unknown as NodeJS.WritableStream)
  const filter = withoutInspectorChatter()
  const show = (text: string): void => {
    if (text !== '') terminal.write(text)
  }
  stderr.on('data', (chunk: Buffer | string) => show(filter.push(String(chunk))))
  // unpipe() paused the stream, and a listener alone does not resume a stream that was paused.
  stderr.resume()
  stderr.once('close', () => show(filter.flush()))
}
