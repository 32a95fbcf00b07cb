/** Recognises by its code that a function waits for the promise of the caller before it, and leaves its own for the next one. */
import { escaped, isLocal, lastName } from './code-words.ts'

/** Behind a path: it is the promise itself that is meant, and not what a method of it gives. */
const ITSELF = String.raw`(?!\s*\??\.\s*(?!(?:then|catch|finally)\b)[\w$#])(?!\s*(?:\?\.)?\s*[([\`])`
const ARGUMENTS = String.raw`[^()]*(?:\([^()]*\)[^()]*)*`
const FOREIGN_CALL = /\.\s*(?!(?:then|catch|finally|resolve)\b)[\w$#]+\s*\(/

/** Something that promises are put into. */
interface Place {
  name: string
  /** Pattern of a look at it. */
  read: string
  /** Pattern of what puts something there. */
  write: string
}

/** Fields, variables or maps whose promise this code waits for and into which it puts another one. */
export function chainStates(code: string): string[] {
  const states = new Set<string>()
  for (const place of placesIn(code)) if (isAwaited(code, place)) states.add(place.name)
  return [...states]
}

function placesIn(code: string): Place[] {
  const found = new Map<string, Place>()
  for (const match of code.matchAll(/(^|[^\w$.#])((?:this\.|[\w$]+\.)*[\w$#]+(?:\[[^\]]*\])?)\s*=(?![=>])/g)) {
    const before = code.slice(0, (match.index ?? 0) + match[1]!.length)
    const path = match[2]!
    if (/\b(?:const|let|var)\s+$/.test(before) || (!/[.[]/.test(path) && isLocal(code, path))) continue
    const read = `(?<![\\w$.#])${escaped(path)}${/[\w$]$/.test(path) ? '(?![\\w$])' : ''}`
    found.set(path, { name: lastName(path), read: `${read}${ITSELF}`, write: `${read}\\s*=(?![=>])` })
  }
  for (const match of code.matchAll(/((?:this\.|[\w$]+\.)*[\w$#]+)\.set\s*\(/g)) {
    const path = match[1]!
    const of = `(?<![\\w$.#])${escaped(path)}`
    const read = `${of}\\.get\\(${ARGUMENTS}\\)${ITSELF}`
    found.set(`${path}.`, { name: lastName(path), read, write: `${of}\\.set\\s*\\(` })
  }
  return [...found.values()]
}

function isAwaited(code: string, place: Place): boolean {
  const { read } = place
  if (isMemo(code, place, read)) return false
  if (new RegExp(`\\bawait\\s+\\(*\\s*${read}`).test(code)) return true
  const chained = new RegExp(`${read}((?:[^;=]|=>){0,80}?)\\.(?:then|finally)\\s*\\(`, 'g')
  for (const match of code.matchAll(chained)) if (!FOREIGN_CALL.test(match[1]!)) return true
  for (const match of code.matchAll(
    new RegExp(`(?:const|let|var)\\s+([\\w$]+)\\s*=\\s*(?:await\\s+)?\\(*\\s*${read}`, 'g'),
  )) {
    const local = escaped(match[1]!)
    const waits = new RegExp(
      `\\bawait\\s+\\(?${local}\\b|\\b${local}\\??\\.(?:then|finally)\\s*\\(|\\b(?:all|allSettled|race)\\(\\[?[^;]*\\b${local}\\b`,
    )
    if (waits.test(code) && !isMemo(code, place, `(?<![\\w$.#])${local}(?![\\w$])`)) return true
  }
  return false
}

/** Several wait for one and the same promise, which is made where there is none yet: nobody waits for their turn. */
function isMemo(code: string, { write }: Place, read: string): boolean {
  const kept = new RegExp(
    `\\bif\\s*\\(\\s*(?:${read}\\s*(?:!==?\\s*(?:undefined|null)\\s*)?|[^()]*\\.has\\([^()]*\\)\\s*)\\)\\s*\\{?\\s*return\\s+(?:await\\s+)?\\(?\\s*${read}\\s*\\)?!?\\s*(?:[;}]|\\n|$)`,
  )
  if (kept.test(code)) return true
  const absent = `\\bif\\s*\\(\\s*(?:!\\s*${read}|${read}\\s*={2,3}\\s*(?:undefined|null|void 0))\\s*\\)\\s*`
  const guarded = [...code.matchAll(new RegExp(`${absent}(?:\\{[^}]*\\}?|[^;{}\\n]*)`, 'g'))]
    .map(([text]) => text)
    .join('\n')
  const count = (text: string): number => [...text.matchAll(new RegExp(write, 'g'))].length
  return count(guarded) > 0 && count(guarded) === count(code)
}
