/**
 * `vm`: a `node:vm` context on the same event loop, with its own globals and its own modules; everything else, the runtime
 * included, is shared. It exists to show what a shared loop does: one actor that blocks starves all others.
 */

import { readFile } from 'node:fs/promises'
import * as nodeModule from 'node:module'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import { childMain } from '../../actor/child-main.ts'
import { clearTimer, setTimer } from '../../process/clean.ts'
import type { Transport } from '../../wire/transport.ts'
import { memoryPair } from '../../wire/transports/memory.ts'
import type { ActorHandle, Backend, Exit, KillReport, SpawnRequest } from '../backend.ts'
import { formatExit } from '../exit.ts'
import { checkBag, isMs, isPolicy } from '../options.ts'
import { ExitLatch } from '../waiting.ts'

/** A module that is evaluated takes at most so long without giving the loop back. */
const ENTRY_MS = 2000

export const backend: Backend = {
  method: 'vm',
  ownProcess: false,
  dialsBack: false,

  available() {
    if (typeof vm.SourceTextModule === 'function') return true
    return 'modules in a node:vm context need the flag --experimental-vm-modules (NODE_OPTIONS=--experimental-vm-modules)'
  },

  async selfTest() {
    const context = vm.createContext({})
    const module = new vm.SourceTextModule('export const sum = 3 + 4', { context })
    await module.link(() => {
      throw new Error('it imports nothing')
    })
    await module.evaluate({ timeout: ENTRY_MS })
    const { sum } = module.namespace as { sum?: unknown }
    return sum === 7 ? true : `a module in a context gave ${String(sum)} instead of 7`
  },

  checkOptions: (options) => checkBag('vm', options, { timeout: isMs, onParentLost: isPolicy }),

  spawn: (request) => new ContextHandle(request),
}

let numbers = 0

class ContextHandle implements ActorHandle {
  readonly method = 'vm'
  readonly pid = undefined
  readonly threadId = undefined
  readonly id = `context ${++numbers}`
  readonly link: Transport
  readonly #name: string
  readonly #far: Transport
  readonly #latch = new ExitLatch()

  constructor({ aid, options }: SpawnRequest) {
    this.#name = aid.name
    const [near, far] = memoryPair(`actor ${aid.name}`)
    this.link = near
    this.#far = far
    const loader = new Loader((options.timeout as number | undefined) ?? ENTRY_MS)
    void childMain({
      aid,
      method: 'vm',
      ownProcess: false,
      shared: true,
      connect: async () => far,
      importModule: (url) => loader.import(url),
      exit: (code) => this.#latch.settle({ code, signal: null }),
    })
  }

  wait(signal?: AbortSignal): Promise<Exit> {
    return this.#latch.wait(signal)
  }

  poll(): Exit | undefined {
    return this.#latch.poll()
  }

  interrupt(): boolean {
    return false
  }

  /** A context cannot be ended from outside: its link is cut, and its tasks are cancelled by that. */
  terminate(): boolean {
    this.#far.destroy()
    return this.poll() === undefined
  }

  async kill(limitMs: number): Promise<KillReport> {
    this.terminate()
    try {
      await this.wait(AbortSignal.timeout(limitMs))
      return { gone: true, ended: [], left: [] }
    } catch {
      const left = [{ pid: process.pid, command: this.describe(), reason: 'shares its event loop with us' }]
      return { gone: false, ended: [], left }
    }
  }

  abandon(): void {
    this.link.destroy()
    this.#latch.settle({ code: null, signal: null, abandoned: true })
  }

  subtree(): [] {
    return []
  }

  outputTail(): string {
    return ''
  }

  describe(): string {
    const exit = this.poll()
    return `vm actor ${this.#name}, ${this.id}, ${exit ? formatExit(exit) : 'running'}`
  }
}

/** What a fresh context lacks of what Node gives to every program. */
const GLOBALS = [
  'console',
  'process',
  'Buffer',
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
  'clearImmediate',
  'queueMicrotask',
  'structuredClone',
  'performance',
  'fetch',
  'URL',
  'URLSearchParams',
  'TextEncoder',
  'TextDecoder',
  'AbortController',
  'AbortSignal',
  'Event',
  'EventTarget',
  'crypto',
] as const

/** Modules of one context: files are loaded anew, Node's own and packages are those of the host. */
class Loader {
  readonly #context: vm.Context
  readonly #timeout: number
  readonly #modules = new Map<string, Promise<vm.Module>>()

  constructor(timeout: number) {
    this.#timeout = timeout
    this.#context = vm.createContext(
      Object.fromEntries(GLOBALS.map((name) => [name, (globalThis as Record<string, unknown>)[name]])),
    )
  }

  async import(url: string): Promise<Record<string, unknown>> {
    const module = await this.#load(url)
    if (module.status === 'unlinked') {
      await module.link((specifier, referrer) => this.#resolve(specifier, referrer.identifier))
    }
    if (module.status === 'linked') await within(module.evaluate({ timeout: this.#timeout }), url, this.#timeout)
    if (module.status === 'errored') throw module.error
    return module.namespace as Record<string, unknown>
  }

  #resolve(specifier: string, parent: string): Promise<vm.Module> {
    if (/^\.{0,2}\//.test(specifier) || specifier.startsWith('file:'))
      return this.#load(new URL(specifier, parent).href)
    return this.#bridge(specifier, parent)
  }

  #load(url: string): Promise<vm.Module> {
    let module = this.#modules.get(url)
    if (!module) {
      // The runtime itself is not loaded twice.
      module = isRuntime(url) ? this.#bridge(url, url) : this.#compile(url)
      this.#modules.set(url, module)
    }
    return module
  }

  async #compile(url: string): Promise<vm.Module> {
    const text = await readFile(fileURLToPath(url), 'utf8')
    const { stripTypeScriptTypes } = nodeModule as { stripTypeScriptTypes?: (text: string) => string }
    const source = /\.m?ts$/.test(url) && stripTypeScriptTypes ? stripTypeScriptTypes(text) : text
    return new vm.SourceTextModule(source, {
      context: this.#context,
      identifier: url,
      initializeImportMeta: (meta) => {
        meta.url = url
      },
      importModuleDynamically: (async (specifier: string) => {
        const found = await this.#resolve(specifier, url)
        if (found.status === 'unlinked') await found.link((next, referrer) => this.#resolve(next, referrer.identifier))
        if (found.status === 'linked') await found.evaluate()
        return found
      }) as never,
    })
  }

  async #bridge(specifier: string, parent: string): Promise<vm.Module> {
    const key = `bridge ${specifier}`
    const known = this.#modules.get(key)
    if (known) return await known
    const own = specifier.startsWith('node:') || specifier.startsWith('file:')
    const target = own ? specifier : import.meta.resolve(specifier, parent)
    const namespace = (await import(target)) as Record<string, unknown>
    const names = Object.keys(namespace)
    const module = new vm.SyntheticModule(
      names,
      function (this: vm.SyntheticModule) {
        for (const name of names) this.setExport(name, namespace[name])
      },
      { context: this.#context, identifier: key },
    )
    this.#modules.set(key, Promise.resolve(module))
    return module
  }
}

/** Folder of the runtime: above this file in a checkout, that of the bundle in the package. */
const HERE = new URL(import.meta.url.endsWith('.ts') ? '../../' : './', import.meta.url).href

/** A file of the runtime's own source or build. */
function isRuntime(url: string): boolean {
  return url.startsWith(HERE)
}

/** A top-level await that never ends must not keep the boot. */
async function within(evaluation: Promise<unknown>, url: string, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimer(() => reject(new Error(`${url} was not evaluated within ${limitMs} ms`)), limitMs)
  })
  try {
    await Promise.race([evaluation, late])
  } finally {
    clearTimer(timer)
  }
}
