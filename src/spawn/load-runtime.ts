/**
 * Loads the runtime of the package: one script, not a module, because V8 takes a code cache for scripts only, and Node's own
 * compile cache holds no function that ran later than the first line. What a child has compiled in its life is kept in a file, so
 * that the next one compiles nothing (what that gives: DESIGN.md section 8).
 *
 * The build makes a CommonJS file of this one; in a checkout nothing of it is used.
 */
import { readdirSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { makeFolder } from '../process/make-folder.ts'

type Runtime = Record<string, unknown>

const LOADED = Symbol.for('harrow.runtimes')
const holder = globalThis as { [LOADED]?: Map<string, Runtime> }
/** V8 forgets functions that have not run for long: a cache made late would have lost the start. */
const KEEP_AFTER_MS = 5000
/** Caches of builds that are gone. */
const OLD_MS = 7 * 24 * 60 * 60_000
const SCRIPT = '.script.js'
const CODE = '.code'

/**
 * The runtime that is in a file, the same for everyone in this thread.
 *
 * @param path of the script, as the build has made it
 */
export function loadRuntime(path: string): Runtime {
  return load(path, undefined)
}

/**
 * The same for the first module of a child.
 *
 * @param life what runs in this thread; each has a cache of its own
 */
export function loadForLife(path: string, life: string): Runtime {
  const folder = process.env.HARROW_COMPILE_CACHE
  // Its parent has switched Node's own cache on for what is imported here, and not for what is started from here.
  if (folder && process.env.NODE_COMPILE_CACHE === folder) delete process.env.NODE_COMPILE_CACHE
  return load(path, folder ? cachePath(folder, path, life) : undefined)
}

function load(path: string, cache: string | undefined): Runtime {
  holder[LOADED] ??= new Map()
  let runtime = holder[LOADED].get(path)
  if (runtime === undefined) {
    runtime = run(path, cache)
    holder[LOADED].set(path, runtime)
  }
  return runtime
}

function run(path: string, cache: string | undefined): Runtime {
  const url = pathToFileURL(path).href
  // The build leaves nothing but ASCII in it.
  const source = readFileSync(path, 'latin1')
  const cachedData = cache === undefined ? undefined : readIfThere(cache)
  const script = new Script(source, { filename: url, ...(cachedData && { cachedData }) })
  if (cache !== undefined && (cachedData === undefined || script.cachedDataRejected)) keepWhatIsCompiled(script, cache)
  return (script.runInThisContext() as Make)(url, (specifier) => import(new URL(specifier, url).href))
}

/** A script cannot import anything itself without a word of Node's about an experiment. */
type Make = (url: string, load: (specifier: string) => Promise<unknown>) => Runtime

/** V8 checks its own version, its flags, and the length of the source, but not the source: its hash is in the name of the file. */
function cachePath(folder: string, path: string, life: string): string {
  const name = basename(path, SCRIPT)
  const flags = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' ').trim()
  const suffix = `${life}-${process.version}-${process.arch}${flags === '' ? '' : `-${hash(flags)}`}`
  return join(folder, `${name}-${suffix}${CODE}`)
}

/** FNV-1a. */
function hash(text: string): string {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0
  return value.toString(16)
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

/** Once, at the end of this thread or after some seconds. */
function keepWhatIsCompiled(script: Script, path: string): void {
  const had = modified(path)
  const keep = (): void => {
    clearTimeout(timer)
    process.removeListener('exit', keep)
    // Of a hundred that end together, the first one does it.
    if (modified(path) === had) write(script, path)
  }
  const timer = setTimeout(keep, KEEP_AFTER_MS).unref()
  process.on('exit', keep)
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** Never throws: a folder that cannot be written to costs time only. */
function write(script: Script, path: string): void {
  try {
    const folder = dirname(path)
    makeFolder(folder, 0o700)
    for (const name of readdirSync(folder)) {
      const other = join(folder, name)
      if (name.includes(CODE) && Date.now() - modified(other) > OLD_MS) unlinkSync(other)
    }
    const made = `${path}.${process.pid}.${Math.random().toString(36).slice(2, 8)}`
    // On the disk before it has its name: V8 does not check what it reads.
    writeFileSync(made, script.createCachedData(), { mode: 0o600, flush: true })
    renameSync(made, path)
  } catch {
    // The next one tries again.
  }
}
