/**
 * What why-is-node-running says of open handles: asked in a second run only, for its hook makes awaits many times dearer,
 * and only for handles whose line our own record does not know (made by functions that it does not wrap).
 */
import { resolve } from 'node:path'
import type { HandleOpinion } from '../protocol.ts'

const MOST_HANDLES = 200

/**
 * Starts its hook; to be called before anything is opened.
 * @returns the function that asks, which works once
 */
export async function startSecondOpinion(): Promise<() => HandleOpinion[]> {
  const { default: why } = await import('why-is-node-running')
  return () => {
    const lines: string[] = []
    why({ error: (line: unknown) => void lines.push(String(line)) })
    return readOpinion(lines)
  }
}

/** From its report: `# Timeout`, then lines `src/a.ts:12 - setInterval(...)`, paths relative to the working directory. */
export function readOpinion(lines: readonly string[]): HandleOpinion[] {
  const found: HandleOpinion[] = []
  for (const line of lines) {
    const type = /^# (\S+)$/.exec(line)?.[1]
    if (type !== undefined) {
      found.push({ type, frames: [] })
      continue
    }
    const at = /^(.*?):(\d+)(?:\s+-\s.*|\s*)$/.exec(line)
    if (at === null) continue
    found.at(-1)?.frames.push({ fn: '', at: { url: resolve(at[1]!), line: Number(at[2]), column: 1 } })
  }
  return found.slice(0, MOST_HANDLES)
}
