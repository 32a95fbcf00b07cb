const QUOTE = 34
const BACKSLASH = 92
const CLOSE = 93
const SPACE = 32
const COMMA = 44

/**
 * The string table of a heap snapshot, kept as the bytes that came in: a snapshot holds tens of thousands of strings
 * and a dump reads a few hundred of them, so a string is decoded when it is asked for.
 */
export class StringTable {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1 << 16)
  #used = 0
  /** Start and end of each string in the bytes, in pairs; one entry more while a string is open. */
  #bounds = new Uint32Array(1 << 13)
  #marks = 0
  #escaped = false
  readonly #decoded = new Map<number, string>()

  /** Bytes of all strings so far. */
  get bytes(): number {
    return this.#used
  }

  get size(): number {
    return this.#marks >>> 1
  }

  /**
   * Reads on from `from`. Answers with the index behind the closing bracket of the table, -1 when the chunk ended first,
   * -2 when a byte has no business there.
   */
  take(chunk: Uint8Array, from: number): number {
    const length = chunk.length
    const base = this.#used - from
    let bounds = this.#bounds
    let marks = this.#marks
    let inString = (marks & 1) === 1
    let escaped = this.#escaped
    let end = -1
    let at = from
    while (at < length) {
      const byte = chunk[at++]!
      if (inString) {
        if (escaped) {
          escaped = false
          continue
        }
        if (byte !== QUOTE) {
          escaped = byte === BACKSLASH
          continue
        }
        bounds[marks++] = base + at - 1
        inString = false
      } else if (byte === QUOTE) {
        if (marks + 2 > bounds.length) bounds = this.#growBounds()
        bounds[marks++] = base + at
        inString = true
      } else if (byte === CLOSE) {
        end = at
        break
      } else if (byte > SPACE && byte !== COMMA) {
        return -2
      }
    }
    this.#marks = marks
    this.#escaped = escaped
    this.#keep(chunk.subarray(from, at))
    return end
  }

  /** The string with this index, '' when there is none. */
  get(index: number): string {
    if (index >= this.size) return ''
    const known = this.#decoded.get(index)
    if (known !== undefined) return known
    const from = this.#bounds[2 * index]!
    const raw = Buffer.from(this.#bytes.buffer, from, this.#bounds[2 * index + 1]! - from).toString('utf8')
    const text = raw.includes('\\') ? decode(raw) : raw
    this.#decoded.set(index, text)
    return text
  }

  /**
   * For every string its place in `wanted` plus 1, 0 for the others. V8 writes one text under several indices (once as
   * a name in the heap, once as a constant of its own), so a text cannot be looked up as one index.
   *
   * @param wanted ASCII texts, at most 255
   */
  codes(wanted: readonly string[]): Uint8Array {
    const codes = new Uint8Array(this.size)
    const byLength = new Map<number, number[]>()
    const texts = wanted.map((text) => Buffer.from(text, 'latin1'))
    texts.forEach((text, place) => {
      const places = byLength.get(text.length)
      if (places) places.push(place)
      else byLength.set(text.length, [place])
    })
    let longest = 0
    for (const length of byLength.keys()) longest = Math.max(longest, length)
    const buckets = Array.from({ length: longest + 1 }, (_, length) => byLength.get(length))
    const bounds = this.#bounds
    for (let index = 0; index < codes.length; index++) {
      const from = bounds[2 * index]!
      const length = bounds[2 * index + 1]! - from
      const places = length <= longest ? buckets[length] : undefined
      if (places) {
        for (const place of places) {
          if (this.#equals(texts[place]!, from)) codes[index] = place + 1
        }
      }
    }
    return codes
  }

  #equals(text: Uint8Array, from: number): boolean {
    for (let at = text.length - 1; at >= 0; at--) if (this.#bytes[from + at] !== text[at]) return false
    return true
  }

  #keep(piece: Uint8Array): void {
    if (this.#used + piece.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#used + piece.length))
      larger.set(this.#bytes)
      this.#bytes = larger
    }
    this.#bytes.set(piece, this.#used)
    this.#used += piece.length
  }

  #growBounds(): Uint32Array<ArrayBuffer> {
    const larger = new Uint32Array(this.#bounds.length * 2)
    larger.set(this.#bounds)
    this.#bounds = larger
    return larger
  }
}

function decode(raw: string): string {
  try {
    const value: unknown = JSON.parse(`"${raw}"`)
    return typeof value === 'string' ? value : raw
  } catch {
    return raw
  }
}
