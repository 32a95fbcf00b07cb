/** Frames on a stream of bytes: 4 bytes of length, little-endian, then the body. */

/** A longer frame breaks the channel at once. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024
/** Of a peer that has not proved yet who it is. */
export const MAX_STRANGER_BYTES = 64 * 1024
export const LENGTH_BYTES = 4
/**
 * So many parts of frames do not wait for the end of the turn: the other side works on them while the rest is made. With 64
 * calls in flight that was 240 k calls a second instead of 130 (DESIGN.md section 8); 16 and 8 cost more and gave no more.
 */
export const EAGER_PARTS = 32
/** So many bytes neither. */
export const EAGER_BYTES = 48 * 1024

/** Takes one frame, without its length: the bytes from `from` up to `to`. A view of each of them would cost more than reading it. */
export type FrameSink = (bytes: Uint8Array, from: number, to: number) => void

/** Cuts chunks into frames. What belongs to one frame is put together once, when it is whole. */
export class Splitter {
  readonly #onFrame: FrameSink
  readonly #max: number
  #chunks: Uint8Array[] = []
  #have = 0
  #need = 0
  #last = 0
  /** So many more frames may be of a stranger. */
  #strange: number

  /** @param strange so many frames at first are short, see {@link MAX_STRANGER_BYTES} */
  constructor(onFrame: FrameSink, max = MAX_FRAME_BYTES, strange = 0) {
    this.#onFrame = onFrame
    this.#max = max
    this.#strange = strange
  }

  /** Is there a part of a frame whose end has not come? */
  get partial(): boolean {
    return this.#have > 0
  }

  /** @throws RangeError for a frame that is too long */
  push(chunk: Uint8Array): void {
    if (this.#have > 0) {
      this.#chunks.push(chunk)
      this.#have += chunk.length
      if (this.#need === 0 && this.#have >= LENGTH_BYTES) this.#need = this.#length(this.#join(), 0) + LENGTH_BYTES
      if (this.#need === 0 || this.#have < this.#need) return
      chunk = this.#join()
      this.#chunks = []
      this.#have = 0
    }
    const at = this.cut(chunk, 0, chunk.length)
    if (at < chunk.length) {
      this.#chunks = [at === 0 ? chunk : chunk.subarray(at)]
      this.#have = chunk.length - at
    }
  }

  /** Bytes of the frame that is being gathered, its length included; 0 when that is not known yet. */
  get need(): number {
    return this.#need
  }

  /** Bytes of the last frame that was whole, its length included. */
  get last(): number {
    return this.#last
  }

  /**
   * Hands out the frames that are whole.
   *
   * @returns where the one begins that is not
   * @throws RangeError for a frame that is too long
   */
  cut(bytes: Uint8Array, from: number, to: number): number {
    this.#need = 0
    while (to - from >= LENGTH_BYTES) {
      const length = this.#length(bytes, from)
      const start = from + LENGTH_BYTES
      if (to - start < length) {
        this.#need = length + LENGTH_BYTES
        break
      }
      from = start + length
      if (this.#strange > 0) this.#strange--
      this.#last = length + LENGTH_BYTES
      this.#onFrame(bytes, start, from)
    }
    return from
  }

  #length(bytes: Uint8Array, at: number): number {
    const length = (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
    const max = this.#strange > 0 ? MAX_STRANGER_BYTES : this.#max
    if (length > max) throw new RangeError(`a frame of ${length} bytes is longer than ${max}`)
    return length
  }

  #join(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks, this.#have)]
    return this.#chunks[0]!
  }
}
