/** Which test started a process: noted in the temp root of a run, for whoever looks at its processes while it goes on. */
import { appendFileSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** One start of a process. */
export interface StartNote {
  /** Mark in the environment of what was started: `<run>.<worker>.<n>`. */
  mark: string
  /** Titles of the test, or of the hook, joined by ` > `; '' at the top level of the file. */
  test: string
  /** Relative to the root of the project. */
  file: string
}

const NAME = 'starts.jsonl'
const MOST_BYTES = 4 << 20

/** Adds a line, about 20 µs. Never throws: a full disk costs only the name of a test. */
export function noteStart(folder: string, note: StartNote): void {
  try {
    appendFileSync(join(folder, NAME), `${JSON.stringify(note)}\n`, { mode: 0o600 })
  } catch {
    // As said.
  }
}

/** All notes of a run by their mark; those that cannot be read are left out. */
export function readStarts(folder: string): Map<string, StartNote> {
  const found = new Map<string, StartNote>()
  for (const line of linesOf(join(folder, NAME))) {
    try {
      const { mark, test, file } = JSON.parse(line) as Partial<StartNote>
      if (typeof mark === 'string' && typeof test === 'string' && typeof file === 'string') {
        found.set(mark, { mark, test, file })
      }
    } catch {
      // The last line may be half written.
    }
  }
  return found
}

function linesOf(path: string): string[] {
  try {
    if (statSync(path).size > MOST_BYTES) return []
    return readFileSync(path, 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}
