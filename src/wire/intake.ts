/**
 * Where a socket reads to. By itself Node makes a buffer for each read, copies what came where that is less, and a frame that came
 * in two reads has to be put together; here the kernel writes most frames where they are to stay (DESIGN.md section 8).
 */
import type { Splitter } from './frame.ts'

/** Of a buffer that takes whatever comes; libuv reads as much at a time. */
const ROOM_BYTES = 64 * 1024
/** With less than that left in it, the next one is begun. */
const LEAST_ROOM_BYTES = 8 * 1024
/** A frame from here on has a buffer of its own, */
const LARGE_BYTES = 16 * 1024
/** and up to here the next one is expected to be as long. */
const MOST_EXPECTED_BYTES = 1024 * 1024

export class Intake {
  /** What the constructor of a socket takes. */
  readonly onread = {
    buffer: (): Uint8Array => this.#room(),
    callback: (bytes: number): boolean => this.#took(bytes),
  }
  #splitter: Splitter | undefined
  #onError: ((error: unknown) => void) | undefined
  #buffer: Uint8Array = new Uint8Array(0)
  /** What has come and was not handed out: from here */
  #from = 0
  /** to here. */
  #to = 0

  /** Is there a part of a frame whose end has not come? */
  get partial(): boolean {
    return this.#to > this.#from
  }

  /**
   * Hands out what has come, and from now on at once; the socket has to be told to read on.
   *
   * @param onError told of bytes that are no frames
   */
  start(splitter: Splitter, onError: (error: unknown) => void): void {
    this.#splitter = splitter
    this.#onError = onError
    this.#cut(splitter)
  }

  /** Where the next read goes; never empty. */
  #room(): Uint8Array {
    const part = this.#to - this.#from
    const need = this.#next(part)
    const left = this.#buffer.length - this.#to
    const fits = need > 0 ? left > 0 && this.#from + need <= this.#buffer.length : left >= LEAST_ROOM_BYTES
    if (!fits) {
      const next = Buffer.allocUnsafeSlow(need > LARGE_BYTES ? need : part + ROOM_BYTES)
      if (part > 0) next.set(this.#buffer.subarray(this.#from, this.#to))
      this.#buffer = next
      this.#from = 0
      this.#to = part
    }
    return this.#buffer.subarray(this.#to)
  }

  /** Bytes that the next frame has, or is expected to have; 0 when that is not known. */
  #next(part: number): number {
    if (!this.#splitter) return 0
    if (part > 0) return this.#splitter.need
    const { last } = this.#splitter
    return last > LARGE_BYTES && last <= MOST_EXPECTED_BYTES ? last : 0
  }

  /** @returns false when nobody takes it yet: then the socket reads no more */
  #took(bytes: number): boolean {
    this.#to += bytes
    if (!this.#splitter) return false
    this.#cut(this.#splitter)
    return true
  }

  #cut(splitter: Splitter): void {
    try {
      this.#from = splitter.cut(this.#buffer, this.#from, this.#to)
    } catch (error) {
      this.#from = this.#to
      this.#onError?.(error)
    }
  }
}
