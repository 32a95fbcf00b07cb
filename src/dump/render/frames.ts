import type { DumpFrame } from '../schema.ts'
import { count, oneLine, where } from '../words.ts'
import type { Marks } from './marks.ts'

const MAX_LOCALS = 8
const MAX_LOCAL = 120

export const isUserFrame = (frame: DumpFrame): boolean => frame.user !== false

/** `<anonymous>  test/a.test.ts:36:3   await x()`. */
export function frameLine(frame: DumpFrame): string {
  const source = frame.source === undefined ? '' : `   ${oneLine(frame.source, 160)}`
  return `${oneLine(frame.fn, 120)}  ${oneLine(where(frame.site))}${source}`
}

/** Locals on one line, none when the frame has none. */
export function localsLine(frame: DumpFrame): string | undefined {
  const locals = Object.entries(frame.locals ?? {})
  if (locals.length === 0) return undefined
  const shown = locals
    .slice(0, MAX_LOCALS)
    .map(([name, value]) => `${oneLine(name, MAX_LOCAL)} = ${oneLine(value, MAX_LOCAL)}`)
  if (locals.length > MAX_LOCALS) shown.push(`and ${locals.length - MAX_LOCALS} more`)
  return shown.join('   ')
}

/** `… 4 frames in node:internal, harrow`. */
export function foldLine(frames: readonly DumpFrame[], marks: Marks): string {
  const names = [...new Set(frames.map((frame) => codeOwner(frame.site.path)))]
  const total = frames.reduce((sum, frame) => sum + Math.max(1, frame.hidden ?? 1), 0)
  return `${marks.fold} ${count(total, 'frame')} in ${names.map((name) => oneLine(name)).join(', ')}`
}

/** Whose code a frame that is not the user's is: `node:internal`, `node:events`, the name of a package. */
function codeOwner(path: string): string {
  if (path.startsWith('node:')) return path.split('/', 1)[0] as string
  const at = path.lastIndexOf('node_modules/')
  if (at >= 0) {
    const [first = '', second = ''] = path.slice(at + 'node_modules/'.length).split('/')
    return first.startsWith('@') ? `${first}/${second}` : first
  }
  if (/(?:^|\/)harrow\//.test(path) || /(?:^|\/)(?:src|harness)\/worker\//.test(path)) return 'harrow'
  return 'other code'
}

/** A stack, innermost first; runs of frames that are not the user's are folded into one line. */
export function stackLines(frames: readonly DumpFrame[], marks: Marks): string[] {
  const lines: string[] = []
  let folded: DumpFrame[] = []
  const flush = (): void => {
    if (folded.length > 0) lines.push(foldLine(folded, marks))
    folded = []
  }
  for (const frame of frames) {
    if (!isUserFrame(frame)) {
      folded.push(frame)
      continue
    }
    flush()
    lines.push(frameLine(frame))
    const locals = localsLine(frame)
    if (locals !== undefined) lines.push(`   ${locals}`)
  }
  flush()
  return lines
}
