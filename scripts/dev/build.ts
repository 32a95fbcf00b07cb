// npm run build: makes dist. Safe when two run at once: each builds into a folder of its own and swaps it in.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { binOf, isProgram, root } from './checkout.ts'
import { makeScript } from './runtime-script.ts'
import { hashInputs, stampBuild } from './stamp.ts'

const SHEBANG = '#!/usr/bin/env node\n'

/**
 * Compiles `tsconfig.build.json` into `dist`. A build that makes the same files as are there already leaves them
 * alone, so that a run that reads them is not disturbed.
 * @returns false when the compiler complained; `dist` is unchanged then and the complaints are on stdout
 */
export function build(): boolean {
  // Inside node_modules: on the same file system as dist, and ignored by git and by every tool.
  const cache = join(root, 'node_modules', '.cache')
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'harrow-build-'))
  const made = join(work, 'made')
  const dist = join(root, 'dist')
  const inputs = hashInputs()
  try {
    const args = [binOf('typescript', 'tsc'), '-p', join(root, 'tsconfig.build.json'), '--outDir', made]
    const compiled = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', timeout: 180_000 })
    if (compiled.status !== 0) return false
    if (!bundleWorkerEntry(made, work) || !bundleRuntime(made, work)) return false
    makeExecutable(join(made, 'scripts', 'harrow.js'))
    if (!sameTree(made, dist)) swap(made, dist, work)
    stampBuild(inputs)
    return true
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * Makes one file of the worker's first module and all that it imports. Every worker of a run pays for their loading, at
 * about a millisecond a module; as one file they take a fifth (DESIGN.md, "What a worker start costs").
 */
function bundleWorkerEntry(made: string, work: string): boolean {
  const entry = join(made, 'harness', 'worker', 'entry.js')
  const bundle = join(work, 'entry.js')
  const args = [
    binOf('rolldown'),
    entry,
    '--file',
    bundle,
    '--format',
    'esm',
    '--platform',
    'node',
    '--log-level',
    'warn',
  ]
  const bundled = spawnSync(process.execPath, args, {
    // Names of files are hashes of what is in them, comments with paths from here included.
    cwd: work,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 60_000,
  })
  if (bundled.status !== 0) return false
  renameSync(bundle, entry)
  return true
}

/**
 * Entries that share the runtime, by their path in dist. Together they are bundled with shared chunks: a child loads two
 * files instead of fifty, and a user's module that imports `harrow` gets the very instance that its actor runs in.
 */
const RUNTIME = [
  'src/index',
  'src/errors',
  'src/actor/index',
  'src/scope/index',
  'src/spawn/registry',
  'src/spawn/methods',
  'src/spawn/spawn/main',
  'src/spawn/fork/main',
  'src/spawn/thread/main',
  'src/spawn/zygote/entry',
  // Its count is asked for by tests.
  'src/spawn/thread/abandoned',
]

/** Files of dist that every child loads, or that share state with those. */
const RUNTIME_FILES =
  '/(src/scope/|src/wire/(?!auth-key)|src/actor/(?!nursery|plan|child.js|ladder|rehearsal|reference|root|tidy|discovery|election|occupant|portal|index|current-context)|src/spawn/((spawn|fork|thread)/main|methods|exit|process-entry|at-runtime-end|left-sockets)|src/errors|src/inspect/actors|src/process/(clean|identity|procfs|runtime-dir|make-folder)|msgpackr/)'

function bundleRuntime(made: string, work: string): boolean {
  const config = join(work, 'rolldown.config.mjs')
  const out = join(work, 'bundled')
  const input = Object.fromEntries(RUNTIME.map((name) => [name, join(made, `${name}.js`)]))
  writeFileSync(
    config,
    `export default ${toSource({
      input,
      platform: 'node',
      preserveEntrySignatures: 'allow-extension',
      // Its entry for Node looks for a native part, which costs every start of an actor more than it gives.
      resolve: { alias: { msgpackr: join(root, 'node_modules', 'msgpackr', 'index.js') } },
      external: [
        'vitest',
        'vitest/node',
        'koffi',
        '@jridgewell/trace-mapping',
        'picocolors',
        'pidusage',
        'ps-list',
        'citty',
      ],
      output: {
        dir: out,
        format: 'esm',
        entryFileNames: '[name].js',
        // Beside the index: paths of entries are taken from there.
        chunkFileNames: 'src/[name]-[hash].js',
        minifyInternalExports: false,
        // Children read and hash all of it at their start.
        comments: false,
        // One file for what a child needs: each further one costs half a millisecond.
        codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: 'runtime', test: RUNTIME_FILES }] },
      },
    })}\n`,
  )
  const args = [binOf('rolldown'), '-c', config, '--log-level', 'warn']
  const bundled = spawnSync(process.execPath, args, {
    cwd: work,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 60_000,
  })
  if (bundled.status !== 0) return false
  for (const file of loadedByChildren(out)) takeBuiltinsDirectly(file)
  cpSync(out, made, { recursive: true })
  return makeScript(made, work)
}

/** The entries of child actors, what they import, and what that imports at once. */
function loadedByChildren(out: string): Set<string> {
  const files = new Set<string>()
  const add = (file: string, pattern: RegExp): void => {
    if (files.has(file)) return
    files.add(file)
    for (const [, path] of readFileSync(file, 'utf8').matchAll(pattern)) add(join(file, '..', path!), STATIC)
  }
  for (const name of RUNTIME.filter((entry) => entry.endsWith('/entry') || entry.endsWith('/main')))
    add(join(out, `${name}.js`), DYNAMIC)
  return files
}

const STATIC = /^(?:import|export)\b[^;]*?"(\.[^"]+)";$/gm
const DYNAMIC = /\bimport\("(\.[^"]+)"\)/g

/**
 * An import of `node:fs` reads everything that it exports, and so loads `fs/promises`, streams and readline: a quarter of
 * what an actor's start cost beyond that of its process. What is asked for by name loads nothing else.
 */
function takeBuiltinsDirectly(file: string): void {
  const text = readFileSync(file, 'utf8')
  const made = text
    .replace(/^import "node:(?:async_hooks|fs|module|net|path|worker_threads)";\n/gm, '')
    .replace(
      /^import (?:([\w$]+)(?:, )?)?(?:\{ ([^}]+) \} )?from ("node:(?:async_hooks|fs|module|net|path|worker_threads)");$/gm,
      (_, whole: string | undefined, names: string | undefined, module: string) => {
        const parts = [whole, names && `{ ${names.replaceAll(' as ', ': ')} }`].filter(Boolean)
        return parts.map((part) => `const ${part} = process.getBuiltinModule(${module});`).join(' ')
      },
    )
  // One character outside of ASCII, and V8 takes the whole file in as UTF-16: 6 ms of a start went into that.
  const ascii = made.replace(/[^\0-\x7f]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
  if (ascii !== text) writeFileSync(file, ascii)
}

/** The one regular expression in the config has no form in JSON. */
function toSource(config: object): string {
  return JSON.stringify(config).replace(/"test":("[^"]+")/, '"test":new RegExp($1)')
}

function makeExecutable(path: string): void {
  if (!existsSync(path)) return
  const text = readFileSync(path, 'utf8')
  if (!text.startsWith('#!')) writeFileSync(path, SHEBANG + text)
  chmodSync(path, 0o755)
}

function swap(made: string, dist: string, work: string): void {
  for (let attempt = 0; ; attempt++) {
    try {
      if (existsSync(dist)) renameSync(dist, join(work, `old-${attempt}`))
      renameSync(made, dist)
      return
    } catch (error) {
      // Another build was between our two renames: its dist stands in the way, or has taken ours away.
      if (attempt === 20) throw error
    }
  }
}

function sameTree(a: string, b: string): boolean {
  if (!existsSync(b)) return false
  try {
    const files = (folder: string): string[] =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length))
        .sort()
    const names = files(a)
    if (names.join('\n') !== files(b).join('\n')) return false
    return names.every((name) => readFileSync(join(a, name)).equals(readFileSync(join(b, name))))
  } catch {
    // Another build swapped b while we read it.
    return false
  }
}

if (isProgram(import.meta.url)) process.exitCode = build() ? 0 : 1
