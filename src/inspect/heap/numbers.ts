const ZERO = 48
const NINE = 57
const COMMA = 44
const SPACE = 32
const CLOSE = 93
const MINUS = 45
const BLOCK = 1 << 14

/** State of a scan that goes on from chunk to chunk. */
export interface NumberScan {
  /** Numbers read so far and not yet taken. */
  readonly block: Uint32Array
  filled: number
  number: number
  /** -1 behind a minus sign, else 1. */
  sign: number
  inNumber: boolean
  /** Why the last call stopped: end of the chunk, the block is full, the closing bracket, a byte that is no number. */
  stop: 'end' | 'full' | 'closed' | 'garbage'
}

export function newScan(): NumberScan {
  return { block: new Uint32Array(BLOCK), filled: 0, number: 0, sign: 1, inNumber: false, stop: 'end' }
}

/**
 * Reads the decimal numbers of a JSON array into `scan.block`, at most up to `blockEnd`; answers with the position to
 * go on from. Numbers are taken modulo 2^32: only sizes can be larger, and only places without a line are negative.
 *
 * Short calls over plain locals and 32-bit arithmetic: a dump runs in a thread in which none of this is compiled yet.
 */
export function scanNumbers(bytes: Uint8Array, from: number, scan: NumberScan, blockEnd: number): number {
  const length = bytes.length
  const block = scan.block
  let filled = scan.filled
  let number = scan.number
  let sign = scan.sign
  let inNumber = scan.inNumber
  let at = from
  let stop: NumberScan['stop'] = 'end'
  while (at < length) {
    const byte = bytes[at++]!
    if (byte >= ZERO && byte <= NINE) {
      number = (Math.imul(number, 10) + (byte - ZERO)) | 0
      inNumber = true
      continue
    }
    if (inNumber && byte === MINUS) {
      stop = 'garbage'
      break
    }
    if (inNumber) {
      block[filled++] = sign === 1 ? number : -number
      number = 0
      sign = 1
      inNumber = false
    }
    if (byte === CLOSE) {
      stop = 'closed'
      break
    }
    if (byte > SPACE && byte !== COMMA) {
      if (byte === MINUS) {
        sign = -1
        continue
      }
      stop = 'garbage'
      break
    }
    if (filled === blockEnd) {
      stop = 'full'
      break
    }
  }
  scan.filled = filled
  scan.number = number
  scan.sign = sign
  scan.inNumber = inNumber
  scan.stop = stop
  return at
}
