/** The scripts of a process as V8 knows them: their urls, their source maps, and the text of those that lie in no file. */
import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { readRegularFile } from '../dump/source-text.ts'
import type { InspectorClient } from '../inspect/client.ts'
import { alignTexts } from './align.ts'

/** Node tells of each script in a message of its own; the answer comes after the last. */
const LISTEN_MS = 4000
/** Longer maps are those of bundles, whose file lies beside them. */
const LONGEST_MAP = 32 * 1024 * 1024
const MOST_TEXTS = 30
const LONGEST_TEXT = 4 * 1024 * 1024
const LONGEST_LINE = 240

/** Code that was given to `node -e`, to a worker as a text, or over stdin: the program's own, though it has no file. */
export function isEval(url: string): boolean {
  return /^\[(?:worker )?(?:eval|stdin)\d*\]$|^(?:evalmachine|eval)\b|^file:.*\[eval\d*\]$/.test(url)
}

interface Parsed {
  scriptId: string
  url: string
  sourceMapURL?: string
}

/** Collects the scripts of all threads of a process. */
export class Scripts {
  /** Inline source maps by the path of the script. */
  readonly #maps = new Map<string, string>()
  /** Text of scripts that came without a map and differ from their file, by path. */
  readonly #changed = new Map<string, string>()
  readonly #unmapped = new Set<string>()
  readonly #urls = new WeakMap<InspectorClient, Map<string, string>>()

  /**
   * Has the thread tell of its scripts.
   *
   * @param keep leave the debugger on
   */
  async listen(client: InspectorClient, { keep = false } = {}): Promise<void> {
    const urls = this.#urls.get(client) ?? new Map<string, string>()
    this.#urls.set(client, urls)
    const stop = client.on('Debugger.scriptParsed', (params) => {
      const { scriptId, url, sourceMapURL = '' } = params as Parsed
      urls.set(scriptId, url)
      if (sourceMapURL === '') this.#unmapped.add(pathOf(url))
      if (sourceMapURL.startsWith('data:') && sourceMapURL.length <= LONGEST_MAP) {
        this.#maps.set(pathOf(url), sourceMapURL)
      }
    })
    try {
      await client.post('Debugger.enable', {}, LISTEN_MS)
    } finally {
      stop()
      if (!keep) await client.post('Debugger.disable', {}, LISTEN_MS).catch(() => {})
    }
  }

  /**
   * Asks for the text of scripts that have no source map. Answers with the lines of those that cannot be read from a file, by
   * their urls, which other threads may have as well.
   */
  async readTexts(client: InspectorClient, urls: ReadonlySet<string>): Promise<Map<string, string[]>> {
    const texts = new Map<string, string[]>()
    const wanted = [...urls].filter((url) => isOwn(url) && (!hasFile(url) || this.#unmapped.has(pathOf(url))))
    if (wanted.length === 0) return texts
    await this.listen(client, { keep: true })
    try {
      const known = [...(this.#urls.get(client) ?? [])]
      for (const url of wanted.slice(0, MOST_TEXTS)) {
        const scriptId = known.findLast(([, one]) => pathOf(one) === pathOf(url))?.[0]
        if (scriptId === undefined) continue
        const { scriptSource } = (await client.post('Debugger.getScriptSource', { scriptId })) as {
          scriptSource: string
        }
        if (scriptSource.length > LONGEST_TEXT) continue
        if (hasFile(url)) this.#changed.set(pathOf(url), scriptSource)
        else texts.set(url, scriptSource.split(/\r\n|\n|\r/))
      }
      return texts
    } finally {
      await client.post('Debugger.disable', {}, LISTEN_MS).catch(() => {})
    }
  }

  urlOf(client: InspectorClient, scriptId: string): string {
    return this.#urls.get(client)?.get(scriptId) ?? ''
  }

  /** The map of a script as an object or text, by its absolute path. */
  mapOf(path: string): unknown {
    const changed = this.#changed.get(path)
    if (changed !== undefined) {
      const file = readRegularFile(path)
      return file === null || file === changed ? undefined : alignTexts(changed, file, path)
    }
    const url = this.#maps.get(path)
    const comma = url?.indexOf(',') ?? -1
    if (url === undefined || comma < 0) return undefined
    const body = url.slice(comma + 1)
    const text = /;base64$/i.test(url.slice(0, comma))
      ? Buffer.from(body, 'base64').toString('utf8')
      : decodeURIComponent(body)
    return JSON.parse(text)
  }
}

/** A line of a text, trimmed; undefined for one that says little. */
export function lineIn(texts: ReadonlyMap<string, readonly string[]>, { url, line }: { url: string; line: number }) {
  const text = texts.get(url)?.[line - 1]?.trim()
  return text === undefined || text === '' || text.length > LONGEST_LINE ? undefined : text
}

function isOwn(url: string): boolean {
  return url !== '' && !url.startsWith('node:') && !/[\\/]node_modules[\\/]/.test(url)
}

function hasFile(url: string): boolean {
  const path = pathOf(url)
  return isAbsolute(path) && existsSync(path)
}

function pathOf(url: string): string {
  if (!url.startsWith('file://')) return url.replace(/[?#][^/\\]*$/, '')
  try {
    return decodeURIComponent(new URL(url).pathname)
  } catch {
    return url
  }
}
