import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, connect as dialSocket, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Splitter } from '../../src/wire/frame.ts'
import { Intake } from '../../src/wire/intake.ts'
import { SocketTransport } from '../../src/wire/transports/socket.ts'
import { eventually } from '../actor/world.ts'

let folder: string
let server: Server
let near: Socket
let intake: Intake
let far: Socket

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'intake-'))
  const path = join(folder, 's')
  server = createServer().listen(path)
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  intake = new Intake()
  near = dialSocket({ path, onread: intake.onread })
  await once(near, 'connect')
  far = ((await accepted) as [Socket])[0]
})

afterEach(async () => {
  near.destroy()
  far.destroy()
  server.close()
  await once(server, 'close')
  rmSync(folder, { recursive: true })
})

function framed(body: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(body.length)
  return Buffer.concat([length, body])
}

describe('a socket that reads to where frames stay', () => {
  test.each([1, 3, 4096, 70_000, 1_000_000])('puts frames together from pieces of %i bytes', async (size) => {
    const lengths = size === 1 ? [0, 5, 300, 20_000] : [0, 5, 65_536, 65_536, 17_000, 16_380, 300_000, 3, 150_000, 0, 9]
    const bodies = lengths.map((length, n) => Buffer.alloc(length, n + 1))
    const got: Buffer[] = []
    const splitter = new Splitter((bytes, from, to) => got.push(Buffer.from(bytes.subarray(from, to))))
    intake.start(splitter, (error) => got.push(Buffer.from(String(error))))
    near.resume()
    const stream = Buffer.concat(bodies.map(framed))
    for (let at = 0; at < stream.length; at += size) {
      if (!far.write(stream.subarray(at, at + size))) await once(far, 'drain')
    }
    await eventually('all frames are there', () => got.length === bodies.length)
    for (const [n, body] of bodies.entries()) expect(Buffer.compare(got[n]!, body), `frame ${n}`).toBe(0)
    expect(intake.partial).toBe(false)
  })

  test('a large frame has a buffer of its own, which nothing was copied to', async () => {
    const bodies = Array.from({ length: 5 }, (_, n) => Buffer.alloc(100_000, n + 1))
    const got: { bytes: Uint8Array; from: number; to: number }[] = []
    intake.start(new Splitter((bytes, from, to) => got.push({ bytes, from, to })), () => {})
    near.resume()
    for (const body of bodies) far.write(framed(body))
    await eventually('all frames are there', () => got.length === bodies.length)
    for (const [n, { bytes, from, to }] of got.entries()) {
      expect([bytes.length, from, to], `frame ${n}`).toEqual([100_004, 4, 100_004])
      expect(Buffer.compare(bytes.subarray(from, to), bodies[n]!)).toBe(0)
    }
    expect(new Set(got.map(({ bytes }) => bytes.buffer)).size).toBe(bodies.length)
  })

  test('small frames share one, and none of them is changed by what comes after it', async () => {
    const got: { bytes: Uint8Array; from: number; to: number }[] = []
    intake.start(new Splitter((bytes, from, to) => got.push({ bytes, from, to })), () => {})
    near.resume()
    for (let n = 0; n < 2000; n++) {
      far.write(framed(Buffer.alloc(200, n % 251)))
      if (n % 50 === 0) await eventually('it is read', () => got.length === n + 1)
    }
    await eventually('all frames are there', () => got.length === 2000)
    for (const [n, { bytes, from, to }] of got.entries()) {
      expect(bytes.subarray(from, to).every((byte) => byte === n % 251)).toBe(true)
    }
    expect(new Set(got.map(({ bytes }) => bytes.buffer)).size).toBeLessThan(20)
  })

  test('before anybody takes frames one read is kept, and the rest stays with the system', async () => {
    const bodies = Array.from({ length: 40 }, (_, n) => Buffer.alloc(50_000, n))
    for (const body of bodies) far.write(framed(body))
    await eventually('the first read has come', () => near.bytesRead > 0 && far.writableLength > 0)
    expect(near.bytesRead).toBeLessThanOrEqual(64 * 1024)
    const got: Buffer[] = []
    const transport = new SocketTransport(near, 'uds', 'the far side', intake)
    transport.start({ frame: (bytes, from, to) => got.push(Buffer.from(bytes.subarray(from, to))), closed: () => {} })
    await eventually('all frames are there', () => got.length === bodies.length)
    for (const [n, body] of bodies.entries()) expect(Buffer.compare(got[n]!, body), `frame ${n}`).toBe(0)
    transport.destroy()
  })

  test('R-323 a length above the cap breaks the connection', async () => {
    const transport = new SocketTransport(near, 'uds', 'the far side', intake)
    const closed = new Promise((resolve) => {
      transport.start({ frame: () => {}, closed: resolve })
    })
    far.on('error', () => {})
    far.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]))
    expect(String(((await closed) as Error).cause)).toContain('4294967295 bytes is longer')
  })

  test('the end in the middle of a frame is told as that', async () => {
    const transport = new SocketTransport(near, 'uds', 'the far side', intake)
    const closed = new Promise<Error>((resolve) => {
      transport.start({ frame: () => {}, closed: resolve })
    })
    far.end(framed(Buffer.alloc(1000)).subarray(0, 500))
    expect((await closed).message).toContain('in the middle of a frame')
  })
})
