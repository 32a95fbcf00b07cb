import v8 from 'node:v8'
import { ProbeError } from '../../errors.ts'
import { clearTimer as clearTimeout, setTimer as setTimeout } from '../../process/clean.ts'
import type { InspectorClient } from '../client.ts'
import { HeapGraph } from './graph.ts'
import { type ParseLimits, SnapshotParser } from './parse.ts'

/**
 * The heap of this very thread, without going through the event loop: works inside a timer callback of a sick thread.
 * `v8.getHeapSnapshot` builds the snapshot before it returns and its stream can be read to its end at once, while
 * `HeapProfiler.takeHeapSnapshot` of a session in the same thread runs as a task of its own since V8 13.
 */
export function takeSnapshotHere(limits?: ParseLimits): HeapGraph {
  const parser = new SnapshotParser(limits)
  const stream = v8.getHeapSnapshot()
  let failed: unknown
  const take = (chunk: unknown): void => {
    if (!(chunk instanceof Uint8Array)) throw new ProbeError('the heap snapshot did not come as bytes')
    parser.write(chunk)
  }
  // The first read makes V8 write all of it at once, and the stream would keep all of it: twice the size of the heap.
  stream.push = (chunk: unknown) => {
    if (chunk === null || failed !== undefined) return false
    try {
      take(chunk)
      return true
    } catch (error) {
      failed = error
      return false
    }
  }
  try {
    for (let chunk: unknown = stream.read(); chunk !== null; chunk = stream.read()) take(chunk)
  } finally {
    stream.destroy()
  }
  if (failed !== undefined) throw failed
  return new HeapGraph(parser.end())
}

/**
 * The heap of the thread at the other end of an inspector connection.
 *
 * @param deadlineMs time for the whole snapshot, milliseconds
 */
export async function takeSnapshotOver(
  client: Pick<InspectorClient, 'post' | 'on'>,
  deadlineMs: number,
  limits?: ParseLimits,
): Promise<HeapGraph> {
  const parser = new SnapshotParser(limits)
  let fail: (error: unknown) => void = () => {}
  let timer: ReturnType<typeof setTimeout> | undefined
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject
    timer = setTimeout(() => reject(new ProbeError(`no heap snapshot within ${deadlineMs} ms`)), deadlineMs)
  })
  const off = client.on('HeapProfiler.addHeapSnapshotChunk', (params) => {
    const chunk = (params as { chunk?: unknown } | null)?.chunk
    try {
      if (typeof chunk !== 'string') throw new ProbeError('the inspector sent a piece of a snapshot without text')
      parser.write(chunk)
    } catch (error) {
      off()
      fail(error)
    }
  })
  try {
    await Promise.race([client.post('HeapProfiler.takeHeapSnapshot', { reportProgress: false }, deadlineMs), failed])
    return new HeapGraph(parser.end())
  } finally {
    clearTimeout(timer)
    off()
  }
}
