import { Transform } from 'node:stream'

/** What Node itself writes to stderr around an inspector; `rest` is what may follow the literal head of the line. */
const CHATTER: readonly { head: string; rest: RegExp }[] = [
  { head: 'Debugger listening on ', rest: /^ws:\/\/\S*$/ },
  { head: 'Debugger ending on ', rest: /^ws:\/\/\S*$/ },
  { head: 'For help, see: ', rest: /^https:\/\/nodejs\.org\/\S*$/ },
  { head: 'Debugger attached.', rest: /^$/ },
  { head: 'Waiting for the debugger to disconnect...', rest: /^$/ },
]

/** No line of the inspector is longer; a longer one is passed on as it comes. */
const LONGEST_LINE = 512

/** Drops the inspector's lines from a text that arrives in pieces. */
export interface ChatterFilter {
  /** Takes a piece, answers with what may be shown now. Only the start of a possible inspector line is held back. */
  push(piece: string): string
  /** Answers with what was held back. */
  flush(): string
}

/** Drops whole lines that Node's inspector writes to stderr ("Debugger attached." and the like), and nothing else. */
export function withoutInspectorChatter(): ChatterFilter {
  let held = ''
  let atLineStart = true

  function push(piece: string): string {
    const text = held + piece
    held = ''
    let shown = ''
    let from = 0
    while (from < text.length) {
      const newline = text.indexOf('\n', from)
      if (newline === -1) {
        const tail = text.slice(from)
        if (atLineStart && mayBecomeChatter(tail)) {
          held = tail
        } else {
          shown += tail
          atLineStart = false
        }
        break
      }
      if (!(atLineStart && isInspectorChatter(text.slice(from, newline)))) shown += text.slice(from, newline + 1)
      atLineStart = true
      from = newline + 1
    }
    return shown
  }

  return {
    push,
    flush() {
      const rest = isInspectorChatter(held) ? '' : held
      held = ''
      return rest
    },
  }
}

/** {@link withoutInspectorChatter} as a stream of bytes, to be put between a child's stderr and where it goes. */
export function inspectorChatterFilter(): Transform {
  const filter = withoutInspectorChatter()
  // latin1 maps every byte to one character and back, so that bytes which are no UTF-8 come through unharmed.
  return new Transform({
    transform(chunk: Buffer | string, encoding, done) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
      done(null, Buffer.from(filter.push(bytes.toString('latin1')), 'latin1'))
    },
    flush(done) {
      done(null, Buffer.from(filter.flush(), 'latin1'))
    },
  })
}

/** True for a whole line (without its newline) that Node's inspector writes to stderr. */
export function isInspectorChatter(line: string): boolean {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line
  return CHATTER.some(({ head, rest }) => text.startsWith(head) && rest.test(text.slice(head.length)))
}

function mayBecomeChatter(start: string): boolean {
  if (start.length > LONGEST_LINE) return false
  return CHATTER.some(({ head }) => head.startsWith(start) || start.startsWith(head))
}
