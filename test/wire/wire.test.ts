import { once } from 'node:events'
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { runInNewContext } from 'node:vm'
import { MessageChannel } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { ContextCancelled, MsgTypeError, RemoteActorError, TransportClosed, UsageError } from '../../src/errors.ts'
import { checkOwned } from '../../src/process/runtime-dir.ts'
import {
  DEFAULT_REGISTRY_PORT,
  formatAddress,
  parseAddress,
  preferAddresses,
  socketPath,
} from '../../src/wire/address.ts'
import { isPlain } from '../../src/wire/ahead.ts'
import { Channel } from '../../src/wire/channel.ts'
import { Decoder, Encoder } from '../../src/wire/codec.ts'
import { registerErrorTypes } from '../../src/wire/error-box.ts'
import { Splitter } from '../../src/wire/frame.ts'
import { acceptPeer, greetPeer, greetTold } from '../../src/wire/handshake.ts'
import { dial, type Listener, listen } from '../../src/wire/listener.ts'
import { type Message, Msg } from '../../src/wire/messages.ts'
import { packError, unpackError } from '../../src/wire/remote-error.ts'
import type { Transport } from '../../src/wire/transport.ts'
import { memoryPair } from '../../src/wire/transports/memory.ts'
import { PortTransport } from '../../src/wire/transports/port.ts'
import { registerValueType } from '../../src/wire/values.ts'
import { eventually, failure, inFolder } from '../actor/world.ts'

const SELF = { name: 'self', uuid: 'u1' }
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

/** Two connected transports of a kind. */
async function pair(kind: 'uds' | 'tcp' | 'port' | 'memory'): Promise<[Transport, Transport]> {
  if (kind === 'memory') return memoryPair('test')
  if (kind === 'port') {
    const { port1, port2 } = new MessageChannel()
    const both: [Transport, Transport] = [new PortTransport(port1, 'a'), new PortTransport(port2, 'b')]
    cleanups.push(() => destroyAll(both))
    return both
  }
  return await inFolder(async (folder) => {
    const accepted = Promise.withResolvers<Transport>()
    const address = kind === 'tcp' ? parseAddress('tcp:127.0.0.1:0') : parseAddress(`unix:${folder}/s.sock`)
    const listener: Listener = await listen(address, { onTransport: accepted.resolve })
    const near = await dial(listener.address, { limitMs: 2000 })
    const far = await accepted.promise
    cleanups.push(() => destroyAll([near, far]))
    await listener.close(0)
    return [near, far]
  })
}

function destroyAll(transports: readonly Transport[]): void {
  for (const transport of transports) transport.destroy()
}

const roundTrip = (value: unknown): unknown => {
  const [head = new Uint8Array(), ...blobs] = new Encoder().encode([Msg.return, 1, value])
  const body = Buffer.concat([head, ...blobs]).subarray(4)
  return new Decoder().decode(body)[2 as never]
}

describe('the codec', () => {
  class Money {
    readonly cents: number
    constructor(cents: number) {
      this.cents = cents
    }
  }

  test('R-433 R-005 keeps rich values', () => {
    registerValueType({
      name: 'Money',
      class: Money,
      encode: ({ cents }) => cents,
      decode: (cents) => new Money(cents as number),
    })
    const values = [
      null,
      0,
      'text',
      true,
      1.5,
      2n ** 70n,
      -5n,
      new Date(5),
      /a+/gi,
      new Map([[{ k: 1 }, [2]]]),
      new Set(['x']),
      new Uint8Array([1, 2]),
      new Float64Array(1000).fill(0.25),
      new Int16Array([1, -1]),
      Buffer.alloc(5000, 3),
      Buffer.from('s'),
      { a: { b: [undefined, null] } },
      [[[]]],
      new URL('http://127.0.0.1/x'),
      new Money(5),
      Object.create(null),
    ]
    expect(roundTrip(values)).toEqual(values)
    expect(roundTrip(new Money(7))).toBeInstanceOf(Money)
    // Where it stands makes the difference: alone, in a list, an object, a map.
    for (const zero of [-0, [-0], { zero: -0 }, new Map([[1, -0]]), [0], 0]) expect(roundTrip(zero)).toEqual(zero)
  })

  test('R-433 takes what was made in another realm for what it is', () => {
    const there = runInNewContext(
      '[new Map([[1, new Set([2])]]), new Date(5), /x/g, [new Uint8Array([1]), new DataView(new ArrayBuffer(2))], { a: new ArrayBuffer(3) }]',
    )
    const here = [
      new Map([[1, new Set([2])]]),
      new Date(5),
      /x/g,
      [new Uint8Array([1]), new DataView(new ArrayBuffer(2))],
      { a: new ArrayBuffer(3) },
    ]
    expect(roundTrip(there)).toStrictEqual(here)
    expect(() => roundTrip(runInNewContext('new (class Own extends Map {})'))).toThrow(
      /instance of Own, a class that extends Map/,
    )
    // Another class of the same name.
    expect(() => roundTrip(runInNewContext('new (class Map extends globalThis.Map {})'))).toThrow(/instance of Map/)
  })

  test.each([
    [() => 1, 'args[0] is the function'],
    [{ deep: [1, { x: Symbol('s') }] }, 'args[0].deep[1].x is a symbol'],
    [new Map([['k', Promise.resolve()]]), 'args[0].get(k) is an instance of Promise'],
    [new (class Odd {})(), 'an instance of Odd'],
    [new WeakMap(), 'an instance of WeakMap'],
    [
      [new (class Lru extends Map {})()],
      'args[0][0] is an instance of Lru, a class that extends Map, which cannot travel',
    ],
    [new (class Lot extends Array {})(), 'an instance of Lot, a class that extends Array'],
    [new (class Day extends Date {})(), 'an instance of Day, a class that extends Date'],
    [new (class Bytes extends Uint8Array {})(1), 'an instance of Bytes, a class that extends Uint8Array'],
  ])('R-322 refuses what has no form, with the path to it (%#)', (value, words) => {
    const encoder = new Encoder()
    const error = (() => {
      try {
        encoder.encode([Msg.start, 1, '', 'f', [value], 'func', null])
      } catch (thrown) {
        return thrown
      }
      return undefined
    })()
    expect(error).toBeInstanceOf(MsgTypeError)
    expect((error as Error).message).toContain(words)
    // Nothing of it was half sent: the next message is whole.
    const [head] = encoder.encode([Msg.return, 1, { fine: true }])
    expect(new Decoder().decode(head!.subarray(4))).toEqual([Msg.return, 1, { fine: true }])
  })

  test('refuses what contains itself', () => {
    const ring: Record<string, unknown> = {}
    ring.self = ring
    expect(() => roundTrip(ring)).toThrow(/nested more than 100 deep, or contains itself/)
  })

  test('pollutes no prototype', () => {
    const hostile = JSON.parse('{"__proto__": {"polluted": 1}}') as object
    expect(() => roundTrip(hostile)).toThrow(/__proto__/)
    expect(({} as { polluted?: number }).polluted).toBe(undefined)
  })
})

describe('errors on the wire', () => {
  class Own extends Error {
    readonly extra = { n: 1 }
  }
  class Hostile extends Error {
    constructor() {
      super()
      throw new Error('a constructor that throws')
    }
  }

  const over = (error: unknown): Error => unpackError(roundTrip(packError(error, ['b', 'u2'])), ['a', 'u1'])

  test('R-301 R-304 R-305 tell who threw and who passed it on', () => {
    const once = over(new TypeError('x')) as RemoteActorError
    expect(once).toBeInstanceOf(RemoteActorError)
    expect([once.srcUid, once.boxedType, once.relayPath]).toEqual([['b', 'u2'], TypeError, [['b', 'u2']]])
    const twice = unpackError(packError(once, ['c', 'u3']), ['a', 'u1']) as RemoteActorError
    expect([twice.srcUid, twice.boxedTypeName, twice.srcType]).toEqual([['b', 'u2'], 'RemoteActorError', TypeError])
    expect(twice.relayUid).toEqual(['c', 'u3'])
    expect(twice.unwrap()).toBeInstanceOf(TypeError)
  })

  test('R-306 R-308 R-309 registered classes are rebuilt, without their constructors', () => {
    registerErrorTypes([Own, Hostile])
    const own = (over(new Own('mine')) as RemoteActorError).unwrap() as Own
    expect([own instanceof Own, own.message, own.extra]).toEqual([true, 'mine', { n: 1 }])
    const hostile = Object.setPrototypeOf(new Error('h'), Hostile.prototype) as Error
    expect((over(hostile) as RemoteActorError).unwrap()).toBeInstanceOf(Hostile)
    expect(() => registerErrorTypes([class {} as never])).toThrow(TypeError)
  })

  test('R-005 R-301 what of an error cannot travel does not keep the rest from it', () => {
    class Own extends TypeError {}
    const error = Object.assign(new Own('it carries a class'), {
      list: [new Own('x'), new (class Odd {})()],
      fine: [1],
    })
    const back = unpackError(roundTrip(packError(error, ['a', 'u'])), ['b', 'v']) as RemoteActorError
    expect(back).toMatchObject({ boxedTypeName: 'Own', remoteMessage: 'it carries a class' })
    expect(back.unwrap()).toMatchObject({ fine: [1] })
    expect(back.unwrap()).not.toHaveProperty('list')
  })

  test('R-301 groups keep their members, causes stay, and what is no error arrives', () => {
    const group = new AggregateError([new RangeError('one'), new Error('two', { cause: 'why' })], 'both')
    const back = (over(group) as RemoteActorError).unwrap() as AggregateError
    expect(back.errors[0]).toBeInstanceOf(RangeError)
    expect(back.errors[1].cause).toBe('why')
    expect((over('just text') as RemoteActorError).remoteMessage).toContain('just text')
    expect((over(undefined) as RemoteActorError).unwrap()).toBe(undefined)
  })

  test('R-264 a cancellation names its canceller', () => {
    const back = over(new ContextCancelled('by c', { canceller: ['c', 'u3'], srcUid: ['b', 'u2'] }))
    expect(back).toMatchObject({ name: 'ContextCancelled', canceller: ['c', 'u3'], srcUid: ['b', 'u2'] })
  })

  test.each([[null], ['text'], [{ boxedType: 7 }], [{ srcUid: [1], relayPath: 'x', source: { error: 5 } }]])(
    'R-309 whatever comes, unboxing does not throw (%#)',
    (data) => {
      const error = unpackError(data, ['a', 'u1'])
      expect(error).toBeInstanceOf(Error)
      expect(() => (error as RemoteActorError).unwrap?.()).not.toThrow()
    },
  )
})

describe('frames', () => {
  test('are put together from any pieces', () => {
    const bodies = ['', 'a', 'b'.repeat(70_000), 'c'].map((text) => Buffer.from(text))
    const stream = Buffer.concat(
      bodies.flatMap((body) => {
        const length = Buffer.alloc(4)
        length.writeUInt32LE(body.length)
        return [length, body]
      }),
    )
    for (const size of [1, 3, 7, 4096, stream.length]) {
      const got: string[] = []
      const splitter = new Splitter((bytes, from, to) => got.push(Buffer.from(bytes.subarray(from, to)).toString()))
      for (let at = 0; at < stream.length; at += size) splitter.push(stream.subarray(at, at + size))
      expect(got).toEqual(bodies.map(String))
      expect(splitter.partial).toBe(false)
    }
  })

  test('R-323 a length above the cap is refused before anything is kept', () => {
    const splitter = new Splitter(() => {})
    expect(() => splitter.push(Buffer.from([0xff, 0xff, 0xff, 0xff]))).toThrow(/4294967295 is longer|longer than/)
  })
})

test('R-323 a message that is too long is refused, and the next one of its shape is understood', () => {
  const [encoder, decoder] = [new Encoder(), new Decoder()]
  const over = (value: unknown): unknown => {
    const [head, ...blobs] = encoder.encode([Msg.yield, 1, value])
    return decoder.decode(Buffer.concat([head!.subarray(4), ...blobs]))[2 as never]
  }
  expect(over({ alpha: 1 })).toEqual({ alpha: 1 })
  const long = 'x'.repeat(65 * 2 ** 20)
  expect(() => encoder.encode([Msg.yield, 1, { gamma: 1, delta: long }])).toThrow(MsgTypeError)
  expect(over({ gamma: 1, delta: 'y' })).toEqual({ gamma: 1, delta: 'y' })
  expect(over({ alpha: 2 })).toEqual({ alpha: 2 })
})

test('R-419 what was encoded is the sender’s no more: a large buffer may be filled anew', () => {
  const buffer = Buffer.alloc(8192, 1)
  const parts = new Encoder().encode([Msg.yield, 1, buffer])
  buffer.fill(2)
  expect(Buffer.concat(parts).includes(2, 200)).toBe(false)
})

describe.each(['uds', 'tcp', 'port', 'memory'] as const)('a channel over %s', (kind) => {
  test('R-418 keeps the order of many messages, large ones among them', async () => {
    const [a, b] = (await pair(kind)).map((transport) => new Channel(transport)) as [Channel, Channel]
    const got: unknown[] = []
    b.start(
      (message) => got.push(message[2 as never]),
      () => {},
    )
    a.start(
      () => {},
      () => {},
    )
    const sent = Array.from({ length: 300 }, (_, n) => (n % 50 === 0 ? Buffer.alloc(100_000, n) : { n }))
    for (const value of sent) if (!a.send([Msg.yield, 1, value])) await a.drained()
    await eventually('all have come', () => got.length === sent.length)
    expect(got).toEqual(sent)
    await a.close()
    await b.close()
  })

  test('R-315 R-806 its end is told once, and sending then fails', async () => {
    const [a, b] = (await pair(kind)).map((transport) => new Channel(transport)) as [Channel, Channel]
    const reasons: TransportClosed[] = []
    b.start(
      () => {},
      (reason) => reasons.push(reason),
    )
    a.start(
      () => {},
      (reason) => reasons.push(reason),
    )
    a.destroy()
    await eventually('both have heard', () => reasons.length === 2)
    expect(reasons.map(({ by }) => by).sort()).toEqual(['local', 'peer'])
    expect(() => a.send([Msg.stop, 1])).toThrow(TransportClosed)
    expect(await failure(a.drained())).toBeInstanceOf(TransportClosed)
  })

  test('R-323 four bad frames are skipped, the fifth breaks it', async () => {
    const [raw, transport] = await pair(kind)
    const channel = new Channel(transport)
    const got: Message[] = []
    let closed: TransportClosed | undefined
    channel.start(
      (message) => got.push(message),
      (reason) => {
        closed = reason
      },
    )
    const bad = (): Uint8Array => Buffer.from([3, 0, 0, 0, 0, 0xc1, 0xc1])
    raw.start({ frame: () => {}, closed: () => {} })
    for (let i = 0; i < 4; i++) raw.send([bad()])
    raw.send(new Encoder().encode([Msg.stop, 1]))
    await eventually('the good one has come', () => got.length === 1)
    expect([channel.badFrames, channel.closed]).toEqual([4, undefined])
    raw.send([bad()])
    await eventually('it is broken', () => closed)
    expect(closed?.message).toContain('5 frames that cannot be decoded')
  })
})

test('R-005 R-315 what a peer said before its end is read, also when our next word finds it gone', async () => {
  const [near, far] = (await pair('uds')).map((transport) => new Channel(transport)) as [Channel, Channel]
  const got: unknown[] = []
  let reason: TransportClosed | undefined
  near.start(
    (message) => got.push(message[1]),
    (end) => {
      reason = end
    },
  )
  // Reading begins with the next turn.
  await new Promise((resolve) => setImmediate(resolve))
  // More parts than wait for the end of a turn, so that all of them are written before the end.
  const numbers = Array.from({ length: 64 }, (_, n) => n)
  for (const n of numbers) far.send([Msg.stop, n])
  far.destroy()
  near.send([Msg.stop, 1])
  await eventually('its end is told', () => reason)
  expect(got).toEqual(numbers)
  expect(reason?.by).toBe('peer')
})

describe('back-pressure', () => {
  test.each(['uds', 'port'] as const)('R-419 a receiver that reads nothing stops the sender on %s', async (kind) => {
    const [a] = await pair(kind)
    const chunk = Buffer.alloc(256 * 1024)
    let sent = 0
    while (a.send([Buffer.from([0, 0, 4, 0]), chunk]) && sent < 1000) {
      sent++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(sent).toBeLessThan(100)
    a.destroy()
    expect(await failure(a.drained())).toBeInstanceOf(TransportClosed)
  })
})

describe('a handshake', () => {
  const greet = { self: SELF, registrar: false, limitMs: 2000 }

  test.each(['uds', 'tcp', 'port'] as const)(
    'R-006 R-146 is the same over %s, and loses nothing behind it',
    async (kind) => {
      const [a, b] = await pair(kind)
      const accepting = acceptPeer(b, {
        ...greet,
        self: { name: 'far', uuid: 'u2' },
        registrar: true,
        key: Buffer.alloc(32, 1),
      })
      const near = await greetPeer(a, { ...greet, role: 'link', key: Buffer.alloc(32, 1) })
      near.channel.send([Msg.stop, 7])
      const far = await accepting
      expect([near.aid.name, near.registrar, far.aid.name, far.role]).toEqual(['far', true, 'self', 'link'])
      const got: Message[] = []
      far.channel.start(
        (message) => got.push(message),
        () => {},
      )
      await eventually('the message behind it has come', () => got.length === 1)
      expect(got[0]).toEqual([Msg.stop, 7])
    },
  )

  test('R-006 a child that was told its parent’s hello is not answered, and what follows arrives on both sides', async () => {
    const [a, b] = await pair('uds')
    const accepting = acceptPeer(b, greet)
    const near = greetTold(a, { name: 'child', uuid: 'u3' })
    near.send([Msg.stop, 7])
    const far = await accepting
    expect([far.aid.uuid, far.role]).toEqual(['u3', 'told'])
    far.channel.send([Msg.stop, 8])
    const got: Record<'near' | 'far', Message[]> = { near: [], far: [] }
    near.start(
      (message) => got.near.push(message),
      () => {},
    )
    far.channel.start(
      (message) => got.far.push(message),
      () => {},
    )
    await eventually('both have come', () => got.near.length + got.far.length === 2)
    expect(got).toEqual({ near: [[Msg.stop, 8]], far: [[Msg.stop, 7]] })
  })

  test('R-146 over TCP nobody is let in who only says that it was told', async () => {
    const [a, b] = await pair('tcp')
    const accepting = failure(acceptPeer(b, { ...greet, key: Buffer.alloc(32, 1) }))
    greetTold(a, SELF)
    expect(await accepting).toMatchObject({ code: 'HARROW_PROTOCOL' })
  })

  test.each([
    [true, { parent: { name: 'a', pid: 1 }, list: [null, true, 1.5, ''] }],
    [false, { limit: Number.POSITIVE_INFINITY }],
    [false, [Number.NaN]],
    [false, [-0]],
    [false, { absent: undefined }],
    [false, { since: new Date(0) }],
    [false, new Map([[1, 2]])],
    [false, { big: 1n }],
    [false, [() => 1]],
    [false, Object.create(null)],
  ])('%s: %o is the same when it has been JSON', (expected, value) => {
    expect(isPlain(value)).toBe(expected)
    if (expected) expect(JSON.parse(JSON.stringify(value))).toEqual(value)
  })

  test('R-146 another key is refused on both sides', async () => {
    const [a, b] = await pair('tcp')
    const accepting = failure(acceptPeer(b, { ...greet, key: Buffer.alloc(32, 1) }))
    const error = await failure(greetPeer(a, { ...greet, role: 'peer', key: Buffer.alloc(32, 2) }))
    expect(error).toMatchObject({ code: 'HARROW_PROTOCOL' })
    expect(await accepting).toBeInstanceOf(Error)
  })

  test('R-146 over TCP nothing of a stranger is kept or made before it has proved who it is', async () => {
    class Trap {}
    let made = 0
    const decode = (): Trap => {
      made++
      return new Trap()
    }
    registerValueType({ name: 'Trap', class: Trap, encode: () => 1, decode })
    const hello = (aid: object): Message => [Msg.hello, 1, aid as never, 'peer', false, Buffer.alloc(32), null]
    // In the hello itself; in place of the proof; behind that, in the same chunk.
    for (const messages of [
      [hello({ ...SELF, trap: new Trap() })],
      [hello(SELF), [Msg.return, 1, new Trap()]],
      [hello(SELF), [Msg.proof, Buffer.alloc(32)], [Msg.return, 1, new Trap()]],
    ] as Message[][]) {
      const [a, b] = await pair('tcp')
      const accepting = failure(acceptPeer(b, { ...greet, limitMs: 500, key: Buffer.alloc(32, 1) }))
      a.start({ frame: () => {}, closed: () => {} })
      const encoder = new Encoder()
      for (const message of messages) a.send(encoder.encode(message))
      expect(await accepting).toBeInstanceOf(Error)
      expect(made).toBe(0)
    }
    // A frame that would be kept until it is whole.
    const [a, b] = await pair('tcp')
    const accepting = failure(acceptPeer(b, { ...greet, limitMs: 30_000, key: Buffer.alloc(32, 1) }))
    a.start({ frame: () => {}, closed: () => {} })
    a.send([Buffer.from([0, 0, 2, 0])])
    expect(String((await accepting).cause ?? (await accepting))).toContain('longer than 65536')
  })

  test('R-146 over TCP what comes right behind the proof is not lost, however long', async () => {
    const [a, b] = await pair('tcp')
    const key = Buffer.alloc(32, 1)
    const far = acceptPeer(b, { ...greet, key })
    const near = await greetPeer(a, { ...greet, role: 'peer', key })
    near.channel.send([Msg.return, 1, [new Map([[1, 'x'.repeat(100_000)]])]])
    near.channel.send([Msg.stop, 3])
    const got: Message[] = []
    const { channel } = await far
    channel.start(
      (message) => got.push(message),
      () => {},
    )
    await eventually('both have come', () => got.length === 2)
    expect(got).toEqual([
      [Msg.return, 1, [new Map([[1, 'x'.repeat(100_000)]])]],
      [Msg.stop, 3],
    ])
  })

  test('R-146 garbage, silence and another version cost only that connection', async () => {
    await inFolder(async (folder) => {
      const outcomes: unknown[] = []
      const listener = await listen(parseAddress(`unix:${folder}/s.sock`), {
        onTransport: (transport) => {
          acceptPeer(transport, { ...greet, limitMs: 300 }).then(
            () => outcomes.push('greeted'),
            (error: unknown) => outcomes.push(error),
          )
        },
      })
      for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '', '\x05\x00\x00\x00\x00\x92\x00\x63\x00']) {
        const socket = connect(`${folder}/s.sock`)
        await once(socket, 'connect')
        if (bytes) socket.write(bytes, 'latin1')
        socket.on('error', () => {})
        cleanups.push(() => socket.destroy())
      }
      await eventually('all were refused', () => outcomes.length === 3)
      expect(outcomes.every((one) => one instanceof Error)).toBe(true)
      const fine = await dial(listener.address, { limitMs: 1000 })
      expect((await greetPeer(fine, { ...greet, role: 'peer' })).aid.name).toBe('self')
      fine.destroy()
      await listener.close(0)
    })
  })
})

describe('addresses', () => {
  test('R-521 R-516 R-523 are read in every form, and refused by name', () => {
    for (const [like, text] of [
      ['unix:/a/b.sock', 'unix:/a/b.sock'],
      ['/unix/a/b.sock', 'unix:/a/b.sock'],
      [['/a', 'b.sock'], 'unix:/a/b.sock'],
      ['tcp:127.0.0.1:80', 'tcp:127.0.0.1:80'],
      ['/ip4/127.0.0.1/tcp/80', 'tcp:127.0.0.1:80'],
      ['/ip6/::1/tcp/80', 'tcp:[::1]:80'],
      [['localhost', 80], 'tcp:localhost:80'],
    ] as const) {
      const address = parseAddress(like as never)
      expect(formatAddress(address)).toBe(text)
      expect(parseAddress(formatAddress(address))).toEqual(address)
    }
    for (const bad of [
      'x',
      'tcp:0.0.0.0:1',
      'tcp:[::]:1',
      'tcp:169.254.1.1:1',
      'tcp:224.0.0.1:1',
      'unix:relative',
      'tcp:h:99999',
      7,
    ]) {
      expect(() => parseAddress(bad as never)).toThrow(UsageError)
    }
    expect(DEFAULT_REGISTRY_PORT).not.toBe(1616)
  })

  test('R-518 socket paths are safe and short, and too long ones are refused by us', () => {
    for (const name of ['tally', '../x', 'ü'.repeat(100), 'x'.repeat(200)]) {
      const path = socketPath('/tmp/harrow-0', name)
      expect(Buffer.byteLength(path)).toBeLessThanOrEqual(107)
      expect(path).toMatch(/^\/tmp\/harrow-0\/[\w-]+\.\d+\.\d+\.sock$/)
    }
    expect(() => parseAddress(`unix:/${'x'.repeat(120)}`)).toThrow(/121 bytes/)
  })

  test('R-522 sockets go before this machine, and that before others', () => {
    const order = ['tcp:10.0.0.1:1', 'tcp:127.0.0.1:1', 'unix:/a', 'unix:/b'].map((text) => parseAddress(text))
    expect(preferAddresses(order).map(formatAddress)).toEqual([
      'unix:/b',
      'unix:/a',
      'tcp:127.0.0.1:1',
      'tcp:10.0.0.1:1',
    ])
  })

  test('R-517 a runtime folder that is not ours alone is refused', async () => {
    await inFolder(async (folder) => {
      mkdirSync(`${folder}/open`, { mode: 0o755 })
      mkdirSync(`${folder}/own`, { mode: 0o700 })
      symlinkSync(`${folder}/own`, `${folder}/link`)
      writeFileSync(`${folder}/file`, '')
      expect(() => checkOwned(`${folder}/own`)).not.toThrow()
      expect(() => checkOwned(`${folder}/open`)).toThrow(/entered by others/)
      expect(() => checkOwned(`${folder}/link`)).toThrow(/is a link/)
      expect(() => checkOwned(`${folder}/file`)).toThrow(/is no folder/)
    })
  })

  test('R-519 R-520 a live path is refused by name, a dead one taken over, and ours is private and removed', async () => {
    await inFolder(async (folder) => {
      const path = `${folder}/s.sock`
      const stale = createServer()
      await new Promise<void>((resolve) => stale.listen(path, resolve))
      const address = parseAddress(`unix:${path}`)
      const refused = await failure(listen(address, { onTransport: () => {} }))
      expect(refused.message).toContain(`unix:${path}: somebody else does`)
      // A binder that dies without closing leaves its file.
      const { spawnSync } = await import('node:child_process')
      stale.close()
      await once(stale, 'close')
      const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
      spawnSync(process.execPath, ['-e', script])
      expect(existsSync(path)).toBe(true)
      const listener = await listen(address, { onTransport: () => {} })
      expect(statSync(path).mode & 0o777).toBe(0o600)
      await listener.close(0)
      expect(existsSync(path)).toBe(false)
    })
  })
})
