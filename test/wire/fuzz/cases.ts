/** Hostile bytes for frames, messages, errors and handshakes. */
import fc from 'fast-check'
import { Channel } from '../../../src/wire/channel.ts'
import { Decoder, Encoder } from '../../../src/wire/codec.ts'
import { Splitter } from '../../../src/wire/frame.ts'
import { acceptPeer } from '../../../src/wire/handshake.ts'
import { type Message, Msg } from '../../../src/wire/messages.ts'
import { packError, unpackError } from '../../../src/wire/remote-error.ts'
import { memoryPair } from '../../../src/wire/transports/memory.ts'

export interface FuzzResult {
  cases: number
  decoded: number
  refused: number
  grownMb: number
}

const SAMPLES: Message[] = [
  [Msg.hello, 1, { name: 'a', uuid: 'b' }, 'link', false, null, null],
  [Msg.start, 1, '', 'add', [1, { a: new Map([[1, new Set([2])]]) }], 'func', null],
  [
    Msg.yield,
    3,
    {
      rows: [
        { n: 1, t: 'x' },
        { n: 2, t: 'y' },
      ],
      big: Buffer.alloc(3000),
    },
  ],
  [Msg.error, 1, packError(new AggregateError([new TypeError('x')], 'y'), ['a', 'b'])],
  [Msg.grant, 1, 64],
]

/** Valid frames with bytes changed, cut, inserted and repeated; and plain noise. */
const hostile = (): fc.Arbitrary<Uint8Array> => {
  const bytes = SAMPLES.map((message) => Buffer.concat(new Encoder().encode(message)))
  const mutated = fc
    .tuple(
      fc.constantFrom(...bytes),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(3)), { maxLength: 8 }),
    )
    .map(([frame, changes]) => {
      let out = Buffer.from(frame)
      for (const [at, value, how] of changes) {
        const i = at % Math.max(1, out.length)
        if (how === 0) out[i] = value
        else if (how === 1) out = out.subarray(0, i)
        else if (how === 2) out = Buffer.concat([out.subarray(0, i), Buffer.from([value]), out.subarray(i)])
        else out = Buffer.concat([out, out.subarray(i, i + value)])
      }
      return out as Uint8Array
    })
  const nested = fc.nat(5000).map((depth) => {
    const body = Buffer.concat([Buffer.from([0]), Buffer.alloc(depth, 0x91), Buffer.from([0xc0])])
    const length = Buffer.alloc(4)
    length.writeUInt32LE(body.length)
    return Buffer.concat([length, body]) as Uint8Array
  })
  // Lengths that promise far more than comes: arrays, maps, strings and binaries of 4 GiB.
  const promises = fc.constantFrom(0xdd, 0xdf, 0xdb, 0xc6, 0xc9).map((type) => {
    return Buffer.from([7, 0, 0, 0, 0, type, 0xff, 0xff, 0xff, 0xff, 1]) as Uint8Array
  })
  return fc.oneof(mutated, mutated, fc.uint8Array({ maxLength: 300 }), nested, promises)
}

/** @throws the first case that breaks a rule, with its seed */
export async function fuzz({ cases, seed }: { cases: number; seed: number }): Promise<FuzzResult> {
  let decoded = 0
  let refused = 0
  const before = process.memoryUsage().rss
  fc.assert(
    fc.property(hostile(), (bytes) => {
      const decoder = new Decoder()
      const splitter = new Splitter((bytes, from, to) => {
        try {
          const message = decoder.decode(bytes, from, to)
          decoded++
          if (message[0] === Msg.error) {
            const error = unpackError(message[2], ['a', 'b'])
            ;(error as { unwrap?(): unknown }).unwrap?.()
          }
        } catch (error) {
          if (!(error instanceof Error) || error.name !== 'MsgTypeError') throw error
          refused++
        }
      })
      try {
        splitter.push(bytes)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        refused++
      }
      if (({} as { polluted?: unknown }).polluted !== undefined) throw new Error('a prototype was polluted')
    }),
    { numRuns: cases, seed },
  )
  await fc.assert(
    fc.asyncProperty(hostile(), async (bytes) => {
      const [near, far] = memoryPair('fuzz')
      const greeting = acceptPeer(far, { self: { name: 'x', uuid: 'y' }, registrar: false, limitMs: 30 }).catch(
        () => undefined,
      )
      const channel = new Channel(near)
      near.send([bytes])
      await greeting
      channel.destroy()
    }),
    { numRuns: Math.ceil(cases / 100), seed },
  )
  return { cases, decoded, refused, grownMb: (process.memoryUsage().rss - before) / 2 ** 20 }
}
