/**
 * What the import of a module does beside loading it. Done in a zygote, it is done for every file, also for one that does not
 * import the module; and hooks and matchers that it registers with vitest are registered before there is a file. So such a module
 * is loaded by the files that import it, as ever.
 */
import module from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Of the DOM, what polyfills add to. */
const DOM = ['EventTarget', 'Node', 'Element', 'HTMLElement', 'SVGElement', 'HTMLCanvasElement', 'Document', 'Range']
/** The language's own, beside those that have a prototype. */
const NAMESPACES = ['JSON', 'Math', 'Reflect', 'Intl', 'Atomics']

const IN_PACKAGE = /^file:[^?#]*\/node_modules\/[^?#]*$/
/** A module that gathers many others is left alone. */
const MOST_INSTEAD = 30

/** Accessors of Node's own globals, before anything else is loaded. */
const LAZY = new Set(
  Object.entries(Object.getOwnPropertyDescriptors(globalThis)).flatMap(([name, { get }]) => (get ? [name] : [])),
)

/** `registerHooks` came with Node 22.15. */
const { registerHooks } = module as {
  registerHooks?(hooks: { resolve: ResolveHook }): { deregister(): void }
}
interface ResolveContext {
  parentURL?: string | undefined
}
type ResolveHook = (
  specifier: string,
  context: ResolveContext,
  next: (specifier: string, context: ResolveContext) => { url: string },
) => { url: string }

/** Can it be told here what an import does? Without that none is safe to be made early. */
export const canWatch = registerHooks !== undefined

/** What an import did. */
export interface Effect {
  /** A part of a sentence. */
  why: string
  /** Paths of what the module itself imports, which may be loaded in its place; of packages only. */
  instead: string[]
}

/**
 * Watches the import of one module until it is asked.
 *
 * @param path of the module
 * @param vitest its folder, in which its modules are
 * @param api what vitest exports; what of it is global is watched
 * @returns to be called after the import: what it did beside loading the module, or undefined
 */
export function watchSideEffects(path: string, vitest: string, api: object): () => Effect | undefined {
  const before = globalState()
  const touched = new Set<string>()
  const restore = trapApi(api, (name) => touched.add(name))
  const folder = pathToFileURL(`${vitest}/`).href
  const url = pathToFileURL(path).href
  const imported = new Set<string>()
  let usesVitest = false
  const hooks = registerHooks?.({
    resolve(specifier, context, next) {
      const found = next(specifier, context)
      if (found.url.startsWith(folder)) usesVitest = true
      else if (context.parentURL === url && IN_PACKAGE.test(found.url)) imported.add(fileURLToPath(found.url))
      return found
    },
  })
  return () => {
    hooks?.deregister()
    restore()
    const why = usesVitest
      ? 'it imports vitest'
      : touched.size > 0
        ? `it uses ${[...touched].join(', ')}`
        : difference(before, globalState())
    return why === undefined ? undefined : { why, instead: imported.size > MOST_INSTEAD ? [] : [...imported] }
  }
}

/** With `globals: true`; one that only asks whether they are there is about to use them. */
function trapApi(api: object, touch: (name: string) => void): () => void {
  const restore: (() => void)[] = []
  for (const [name, value] of Object.entries(api)) {
    const known = Object.getOwnPropertyDescriptor(globalThis, name)
    if (known === undefined || known.value !== value || !known.configurable) continue
    Object.defineProperty(globalThis, name, {
      configurable: true,
      enumerable: known.enumerable ?? true,
      get() {
        touch(name)
        return value
      },
      set(other: unknown) {
        touch(name)
        Object.defineProperty(globalThis, name, { ...known, value: other })
      },
    })
    restore.push(() => void Object.defineProperty(globalThis, name, known))
  }
  return () => {
    for (const one of restore) one()
  }
}

type State = Map<string, Map<PropertyKey, unknown>>

/** What a module can change for others: global names, built-in classes, the process. Nothing is called and no getter is read. */
function globalState(): State {
  const state: State = new Map()
  const note = (name: string, object: unknown): void => {
    if ((typeof object !== 'object' && typeof object !== 'function') || object === null) return
    state.set(name, values(object))
  }
  note('globalThis', globalThis)
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    const { value } = Object.getOwnPropertyDescriptor(globalThis, name) ?? {}
    const isClass = typeof value === 'function' && /^[A-Z]/.test(name)
    if (isClass || NAMESPACES.includes(name)) note(name, value)
    if (isClass) note(`${name}.prototype`, (value as { prototype?: unknown }).prototype)
  }
  for (const name of DOM) {
    const found = (globalThis as Record<string, unknown>)[name] as { prototype?: unknown } | undefined
    note(`${name}.prototype`, found?.prototype)
  }
  note('process.env', { ...process.env })
  note(
    'listeners of process',
    Object.fromEntries(process.eventNames().map((name) => [name, process.listenerCount(name)])),
  )
  note('require.extensions', (module as unknown as { _extensions: object })._extensions)
  return state
}

/** By name; for an accessor its getter. */
function values(object: object): Map<PropertyKey, unknown> {
  const found = new Map<PropertyKey, unknown>()
  for (const key of Reflect.ownKeys(object)) {
    const { value, get } = Object.getOwnPropertyDescriptor(object, key)!
    found.set(key, get ?? value)
  }
  return found
}

function difference(before: State, after: State): string | undefined {
  for (const [name, now] of after) {
    const known = before.get(name)
    // A class that is new is itself a new name.
    if (known === undefined) continue
    for (const key of new Set([...known.keys(), ...now.keys()])) {
      if (Object.is(known.get(key), now.get(key)) && known.has(key) === now.has(key)) continue
      if (name === 'globalThis' && isHarmless(key, known.get(key))) continue
      return `it changes ${String(key)} of ${name}`
    }
  }
  return undefined
}

/** A name that begins with two underscores holds what a package keeps for itself. Node's accessors become values at first use. */
function isHarmless(key: PropertyKey, known: unknown): boolean {
  return typeof key === 'string' && (LAZY.has(key) || (key.startsWith('__') && known === undefined))
}
