/**
 * Messages of Node's own channel between processes in its `advanced` form (`lib/internal/child_process/serialization.js`, the
 * same in Node 12 to 26): a length of four bytes, high byte first, and a value as V8 writes it.
 */
import { DefaultDeserializer, DefaultSerializer } from 'node:v8'

/** What stands before a host object. */
const VIEW = 0
const OTHER = 1
const LENGTH_BYTES = 4

/** The methods by which V8 asks for objects of the host; Node's types name them private. */
interface HostWriter {
  _writeHostObject(object: unknown): void
}
interface HostReader {
  _readHostObject(): unknown
}

const writeView = (DefaultSerializer.prototype as unknown as HostWriter)._writeHostObject
const readView = (DefaultDeserializer.prototype as unknown as HostReader)._readHostObject

class Writer extends DefaultSerializer {
  _writeHostObject(object: object): void {
    const isView = ArrayBuffer.isView(object)
    this.writeUint32(isView ? VIEW : OTHER)
    if (isView) writeView.call(this, object)
    else this.writeValue({ ...object })
  }
}

class Reader extends DefaultDeserializer {
  _readHostObject(): unknown {
    return this.readUint32() === VIEW ? readView.call(this) : this.readValue()
  }
}

/** @throws DataCloneError for a value that cannot be sent */
export function frame(message: unknown): Buffer {
  const writer = new Writer()
  // Room for the length, so that there is one piece to write.
  writer.writeRawBytes(Buffer.alloc(LENGTH_BYTES))
  writer.writeHeader()
  writer.writeValue(message)
  const bytes = writer.releaseBuffer()
  bytes.writeUInt32BE(bytes.length - LENGTH_BYTES, 0)
  return bytes
}

/** Cuts a stream into messages. */
export class Frames {
  #parts: Buffer[] = []
  #bytes = 0
  /** Of the message that is not whole yet; 0: not known. */
  #wanted = 0

  /** @returns the messages that this piece makes whole */
  take(piece: Buffer): unknown[] {
    this.#parts.push(piece)
    this.#bytes += piece.length
    const found: unknown[] = []
    while (this.#bytes >= Math.max(this.#wanted, LENGTH_BYTES)) {
      const all = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
      this.#wanted = LENGTH_BYTES + all.readUInt32BE(0)
      this.#parts = [all]
      if (all.length < this.#wanted) break
      found.push(read(all.subarray(LENGTH_BYTES, this.#wanted)))
      const rest = all.subarray(this.#wanted)
      this.#parts = rest.length > 0 ? [rest] : []
      this.#bytes = rest.length
      this.#wanted = 0
    }
    return found
  }
}

function read(bytes: Buffer): unknown {
  const reader = new Reader(bytes)
  reader.readHeader()
  return reader.readValue()
}
