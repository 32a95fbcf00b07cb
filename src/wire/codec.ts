/**
 * Messages to bytes and back, on msgpackr with sequential records: the shape of an object travels once a connection, which is
 * the fastest of what was measured (performance.md section 3). One codec belongs to one direction of one channel.
 */
import { addExtension, Packr, Unpackr } from 'msgpackr'
import { MsgTypeError } from '../errors.ts'
import { MAX_FRAME_BYTES } from './frame.ts'
import { type Message, Msg } from './messages.ts'
import { pathOf, prepare, Tagged, unbox } from './values.ts'

/** msgpackr leaves so many bytes free before the message: the length of the frame and the number of its blobs. */
export const HEADER_BYTES = 5
const RESERVE_START_SPACE = 2048
/** Their lengths have to fit into what msgpackr leaves free, 255 bytes. */
const MOST_BLOBS = 60

/** Blobs of the message that is being decoded; decoding is synchronous. */
const NO_BLOBS: readonly Uint8Array[] = []
let incoming: readonly Uint8Array[] = NO_BLOBS
/** The message that is being decoded may have nothing in it that code of users or of ours makes. */
let plainOnly = false

addExtension({
  Class: Tagged,
  type: 0x48,
  write: (box: Tagged) => [box.tag, box.data],
  read: (data: unknown) => {
    if (plainOnly) throw new MsgTypeError('a box came from somebody who has proved nothing yet')
    const [tag, inner] = Array.isArray(data) ? data : []
    return unbox(tag, inner, incoming)
  },
})

/** Made anew each time: msgpackr keeps the shapes of a connection in it. */
function options(): object {
  return {
    sequential: true,
    useRecords: true,
    moreTypes: true,
    mapsAsObjects: false,
    useBigIntExtension: true,
  }
}

export class Encoder {
  #packr = new Packr(options() as never)

  /**
   * Encodes one message as a whole frame: header, message, blobs.
   *
   * @returns its parts; the first one is ours alone, blobs are copies
   * @throws MsgTypeError with the path to the value that cannot travel; nothing is half encoded then
   */
  encode(message: Message): Uint8Array[] {
    const blobs = { parts: [] as Uint8Array[] }
    const ready = prepareMessage(message, blobs)
    const { parts } = blobs
    if (parts.length > MOST_BLOBS)
      throw new MsgTypeError(`a message has at most ${MOST_BLOBS} large buffers, not ${parts.length}.`)
    const head = this.#pack(ready, RESERVE_START_SPACE + HEADER_BYTES + 4 * parts.length)
    let length = head.length - 4
    for (let i = 0; i < parts.length; i++) {
      const bytes = parts[i]!.length
      head.writeUInt32LE(bytes, HEADER_BYTES + 4 * i)
      length += bytes
    }
    if (length > MAX_FRAME_BYTES) {
      this.#forgetShapes()
      throw new MsgTypeError(
        `a message of ${length} bytes is longer than ${MAX_FRAME_BYTES}: send it in parts, by a stream`,
      )
    }
    head.writeUInt32LE(length, 0)
    head[4] = parts.length
    return parts.length === 0 ? [head] : [head, ...parts]
  }

  #pack(message: unknown[], options: number): Buffer {
    try {
      return (this.#packr.pack as (value: unknown, options: number) => Buffer)(message, options)
    } catch (error) {
      this.#forgetShapes()
      throw error
    }
  }

  /** Shapes of a message that is not sent would be taken as known by the other side; it takes them anew. */
  #forgetShapes(): void {
    this.#packr = new Packr(options() as never)
  }
}

/** Only the parts that users fill are walked. */
function prepareMessage(message: Message, blobs: { parts: Uint8Array[] }): unknown[] {
  const at = message[0] === Msg.start ? 4 : message[0] === Msg.spec ? 1 : 2
  const value = message[at]
  if (value === undefined || (typeof value === 'number' && value !== 0)) return message
  try {
    const ready = prepare(value, blobs)
    if (Object.is(ready, value)) return message
    const copy: unknown[] = [...message]
    copy[at] = ready
    return copy
  } catch (error) {
    if (!(error instanceof MsgTypeError)) throw error
    const path = pathOf(value, NAMES[message[0]] ?? 'value')
    throw new MsgTypeError(
      `${path} ${error.message}. Send plain data, or register its class with registerValueType().`,
      { path },
    )
  }
}

const NAMES: Record<number, string> = {
  [Msg.start]: 'args',
  [Msg.started]: 'started value',
  [Msg.yield]: 'item',
  [Msg.return]: 'result',
}

/** What each position of a message must be, by type; `i` is a whole number, `?` stands for anything. */
const SHAPES: Record<number, string> = {
  [Msg.hello]: 'nosbyy',
  [Msg.proof]: 'y',
  [Msg.spec]: '?',
  [Msg.start]: 'issa??',
  [Msg.startAck]: 'i?',
  [Msg.started]: 'i?',
  [Msg.yield]: 'i?',
  [Msg.stop]: 'i',
  [Msg.return]: 'i?',
  [Msg.error]: 'i?',
  [Msg.cancel]: 'i',
  [Msg.cancelAck]: 'i?',
  [Msg.cancelActor]: 'nn',
  [Msg.cancelPending]: 'i',
  [Msg.grant]: 'ii',
}

export class Decoder {
  readonly #unpackr = new Unpackr(options() as never)
  /** Of the one message that is being decoded; an object for each would be one too many. */
  readonly #part = { start: 0, end: 0 }

  /**
   * Decodes the body of a frame (all behind its length).
   *
   * @param bytes the body stands in it from `from` up to `to`
   * @param plain it is of a stranger: no boxes in it
   * @throws MsgTypeError for bytes that are no message
   */
  decode(bytes: Uint8Array, from = 0, to = bytes.length, plain = false): Message {
    let value: unknown
    plainOnly = plain
    try {
      if (to <= from) throw new RangeError('it is empty')
      const count = bytes[from] as number
      const part = this.#part
      part.start = from + 1
      part.end = to
      if (count > 0) splitBlobs(bytes, from, to, count, part)
      if (part.start >= part.end) throw new RangeError('it has no message')
      value = this.#unpackr.unpack(bytes, part)
    } catch (error) {
      throw new MsgTypeError(`a frame of ${to - from} bytes cannot be decoded`, { cause: error })
    } finally {
      incoming = NO_BLOBS
      plainOnly = false
    }
    if (!isMessage(value)) throw new MsgTypeError(`a frame of ${to - from} bytes is no message`)
    return value
  }
}

/** Sets `incoming` to the blobs behind the message, and `part` to what is left without them and their lengths. */
function splitBlobs(bytes: Uint8Array, from: number, to: number, count: number, part: Part): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + from, to - from)
  const lengths: number[] = []
  let total = 0
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(1 + 4 * i, true)
    lengths.push(length)
    total += length
  }
  part.start = from + 1 + 4 * count
  part.end = to - total
  if (part.end < part.start) throw new RangeError('its buffers are larger than itself')
  let at = part.end
  incoming = lengths.map((length) => {
    const blob = bytes.subarray(at, at + length)
    at += length
    return blob
  })
}

interface Part {
  start: number
  end: number
}

function isMessage(value: unknown): value is Message {
  if (!Array.isArray(value)) return false
  const shape = SHAPES[value[0] as number]
  if (shape === undefined || value.length > shape.length + 1) return false
  for (let i = 0; i < shape.length; i++) {
    const item: unknown = value[i + 1]
    switch (shape[i]) {
      case 'n':
        if (typeof item !== 'number') return false
        break
      case 'i':
        if (!Number.isSafeInteger(item)) return false
        break
      case 's':
        if (typeof item !== 'string') return false
        break
      case 'b':
        if (typeof item !== 'boolean') return false
        break
      case 'a':
        if (!Array.isArray(item)) return false
        break
      case 'o':
        if (typeof item !== 'object' || item === null) return false
        break
      case 'y':
        if (item !== null && !(item instanceof Uint8Array)) return false
        break
    }
  }
  return true
}
