import { get } from 'node:http'
import type { Readable } from 'node:stream'
import { ProbeError } from '../errors.ts'
import { inspectorPorts } from './inspector-ports.ts'

const LISTENING = /Debugger listening on (ws:\/\/\S+)\s/
/** Where Node listens when nobody chose a port. */
const DEFAULT_PORT = 9229
const HTTP_TIMEOUT_MS = 500
const LONGEST_ANSWER = 65_536

/**
 * Waits for "Debugger listening on ws://…" on a child's stderr. Other readers of the stream see all of it as before;
 * a stream that nobody reads begins to flow. Stops reading at the address, at the end of the stream or by `signal`.
 * @throws {ProbeError} when the stream ended or `signal` was aborted first; that rejection may be ignored
 */
export function listenForInspectorUrl(stderr: Readable, options: { signal?: AbortSignal } = {}): Promise<string> {
  const { signal } = options
  const url = new Promise<string>((resolve, reject) => {
    let tail = ''
    const read = (chunk: Buffer | string) => {
      tail += chunk.toString()
      const found = LISTENING.exec(tail)?.[1]
      // The line may have been cut anywhere; 512 characters hold all of it.
      tail = tail.slice(-512)
      if (found === undefined) return
      stop()
      resolve(found)
    }
    const giveUp = () => {
      stop()
      reject(new ProbeError('stderr ended before the inspector said where it listens'))
    }
    const stop = () => {
      stderr.off('data', read)
      stderr.off('close', giveUp)
      signal?.removeEventListener('abort', giveUp)
    }
    stderr.on('data', read)
    stderr.once('close', giveUp)
    signal?.addEventListener('abort', giveUp, { once: true })
  })
  // Nobody may be waiting yet, or any more, when it fails.
  url.catch(() => {})
  return url
}

/**
 * Refuses every address but one on this machine.
 * @throws {ProbeError} for another host or protocol
 */
export function checkLoopback(address: string): URL {
  let url: URL
  try {
    url = new URL(address)
  } catch (cause) {
    throw new ProbeError(`not an inspector address: ${address}`, { cause })
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const loopback = host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
  if (url.protocol !== 'ws:' || !loopback) {
    throw new ProbeError(`refused to connect to the inspector at ${url.host}: only loopback addresses are allowed`)
  }
  return url
}

/**
 * Looks for an inspector that a process has open: on Linux among the loopback ports that only an inspector can be behind,
 * elsewhere (or where `/proc` may not be read) on port 9229. Answers with undefined when there is none.
 */
export async function findInspectorUrl(pid: number): Promise<string | undefined> {
  for (const port of inspectorPorts(pid) ?? [DEFAULT_PORT]) {
    const url = await askForUrl(port)
    if (url !== undefined) return url
  }
  return undefined
}

function askForUrl(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/json/list', agent: false, timeout: HTTP_TIMEOUT_MS })
    const giveUp = () => {
      request.destroy()
      resolve(undefined)
    }
    // `timeout` only bounds silence; a server that drips is cut off as well.
    const limit = setTimeout(giveUp, HTTP_TIMEOUT_MS)
    request.on('timeout', giveUp)
    request.on('error', giveUp)
    request.on('close', () => clearTimeout(limit))
    request.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('error', giveUp)
      response.on('data', (chunk: string) => {
        body += chunk
        if (body.length > LONGEST_ANSWER) giveUp()
      })
      response.on('end', () => resolve(readUrl(body)))
    })
  })
}

function readUrl(body: string): string | undefined {
  try {
    const targets: unknown = JSON.parse(body)
    const url: unknown = Array.isArray(targets) ? targets[0]?.webSocketDebuggerUrl : undefined
    return typeof url === 'string' ? url : undefined
  } catch {
    return undefined
  }
}
