import { Session } from 'node:inspector'
import { ScriptText, scriptKey } from './script-text.ts'

interface Range {
  startOffset: number
  endOffset: number
  count: number
}

interface CoverageResult {
  result?: { scriptId: string; url: string; functions: { ranges: Range[] }[] }[]
}

interface Parsed {
  scriptId: string
  url: string
  startColumn: number
}

/** Larger scripts are bundles. */
const MOST_CHARACTERS = 1_000_000
const MOST_SCRIPTS = 200

/** A user script and how often its code has run. */
export interface CountedScript {
  /** Read and outlined at the first use. */
  readonly text: ScriptText
  /** How often the code at an offset has run since the counting began. */
  count(offset: number): number
}

/** Counts how often each stretch of the user's code runs in this thread, by V8's precise coverage. */
export interface CallCounts {
  /** The scripts so far, by {@link scriptKey}. Counting starts again from 0. Throws when the inspector refuses. */
  take(): Map<string, CountedScript>
  stop(): void
}

/**
 * Starts to count. Costs some speed of what is loaded afterwards; for the re-run of a test.
 *
 * @param isUser which scripts are of interest, by url
 */
export function startCallCounts(isUser: (url: string) => boolean): CallCounts {
  const session = new Session()
  session.connect()
  const post = <T>(method: string, params: object = {}): T | undefined => {
    let answer: T | undefined
    let failed: Error | null = null
    // Sessions of the same thread answer before `post` returns.
    session.post(method, params, (error, result) => {
      failed = error
      answer = result as T
    })
    if (failed) throw failed
    return answer
  }
  try {
    post('Profiler.enable')
    post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  } catch (error) {
    session.disconnect()
    throw error
  }

  return {
    take() {
      const counted = post<CoverageResult>('Profiler.takePreciseCoverage')?.result ?? []
      const mine = new Map(counted.filter(({ url }) => isUser(url)).map((one) => [one.scriptId, one]))
      const scripts = new Map<string, CountedScript>()
      const parsed: Parsed[] = []
      const listen = ({ params }: { params: object }): void => {
        const script = params as Parsed
        if (mine.has(script.scriptId) && parsed.length < MOST_SCRIPTS) parsed.push(script)
      }
      session.on('Debugger.scriptParsed', listen)
      try {
        post('Debugger.enable')
        for (const { scriptId, url, startColumn } of parsed) {
          const source = post<{ scriptSource?: string }>('Debugger.getScriptSource', { scriptId })?.scriptSource
          if (typeof source !== 'string' || source.length > MOST_CHARACTERS) continue
          const ranges = (mine.get(scriptId)?.functions ?? []).flatMap((one) => one.ranges)
          let text: ScriptText | undefined
          scripts.set(scriptKey(url), {
            get text() {
              text ??= new ScriptText(url, source, startColumn)
              return text
            },
            count: counter(ranges),
          })
        }
        post('Debugger.disable')
      } finally {
        session.off('Debugger.scriptParsed', listen)
      }
      return scripts
    },
    stop() {
      session.disconnect()
    },
  }
}

/** The count of the smallest range around an offset. */
function counter(ranges: Range[]): (offset: number) => number {
  return (offset) => {
    let best: Range | undefined
    for (const range of ranges) {
      if (offset < range.startOffset || offset >= range.endOffset) continue
      if (best === undefined || range.endOffset - range.startOffset <= best.endOffset - best.startOffset) best = range
    }
    return best?.count ?? 0
  }
}
