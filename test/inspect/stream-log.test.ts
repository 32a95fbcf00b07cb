import { once } from 'node:events'
import { PassThrough, Readable, Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type StreamLog, startStreamLog } from '../../src/inspect/stream-log.ts'
import type { StreamNote } from '../../src/inspect/wait-facts.ts'

describe('the log of streams', () => {
  let log: StreamLog

  beforeEach(() => {
    log = startStreamLog()
  })
  afterEach(() => log.close())

  /** What was noted of streams that code of this file listens to. */
  function mine(): StreamNote[] {
    log.look()
    return log.notes().filter(({ listens }) => listens.some(({ frames }) => frames.some(isHere)))
  }
  const isHere = ({ at }: { at: { url: string } | null }): boolean => at?.url.includes('stream-log.test') === true

  test('has the state of a stream, who waits for it and who destroyed it', () => {
    const sink = new Writable({ highWaterMark: 4, write() {} })
    sink.write('12345678')
    void once(sink, 'drain')
    sink.destroy()
    const [note] = mine()
    expect(note).toMatchObject({
      stream: { name: 'Writable', destroyed: true, writable: { length: 8, needDrain: true } },
      listens: [{ event: 'drain' }],
    })
    expect(note!.destroyed.some(isHere)).toBe(true)
    expect(note!.listens[0]!.frames.some(isHere)).toBe(true)
  })

  test('knows the streams of a pipeline that stands still, and what they are piped into', async () => {
    const tail = new PassThrough({ highWaterMark: 8 })
    const stop = new AbortController()
    const chunks = Array.from({ length: 10 }, () => Buffer.alloc(8))
    const running = pipeline(Readable.from(chunks, { objectMode: false }), tail, { signal: stop.signal })
    running.catch(() => {})
    while (!tail.writableNeedDrain) await new Promise(setImmediate)
    expect(mine().map(({ stream }) => stream.into?.name ?? stream.name)).toContain('PassThrough')
    stop.abort()
    await expect(running).rejects.toThrow('abort')
  })

  test('forgets streams that are through', async () => {
    const sink = new PassThrough()
    sink.resume()
    sink.end('a')
    await finished(sink)
    expect(mine()).toEqual([])
  })

  test('notes the calls of web streams', async () => {
    const { writable, readable } = new TransformStream<string, string>()
    const writer = writable.getWriter()
    const written = writer.write('a')
    const [note] = mine()
    expect(note).toMatchObject({
      stream: { name: 'WritableStreamDefaultWriter', web: true },
      listens: [{ event: 'write' }],
    })
    await readable.getReader().read()
    await written
  })

  test('stays out of the way: results and errors of the calls are those of the originals', async () => {
    const stream = new PassThrough()
    expect(stream.on('data', () => {})).toBe(stream)
    expect(stream.destroy()).toBe(stream)
    const { writable } = new TransformStream()
    const writer = writable.getWriter()
    expect(writer.ready).toBe(writer.ready)
    await expect(Reflect.apply(WritableStreamDefaultWriter.prototype.write, {}, [])).rejects.toThrow(TypeError)
  })
})
