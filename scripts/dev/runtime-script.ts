// Part of npm run build: makes a script of the bundled runtime. Why it is one: src/spawn/load-runtime.ts.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { minifySync, parseSync } from 'rolldown/utils'
import { binOf } from './checkout.ts'

/** The first module of these children is a script, which loads the runtime with a code cache. */
const LIVES = ['spawn', 'fork', 'thread']
/** Of a method of a class, below the root of the tree. */
const DEEPEST = 14

/**
 * Makes a script of the module that the runtime is, a module that exports the same, and the first scripts of children. What a
 * child reads it also pays for: 100 KB less are 2 ms of its start.
 */
export function makeScript(made: string, work: string): boolean {
  const folder = join(made, 'src')
  const [name, ...others] = readdirSync(folder).filter((file) => /^runtime-.*\.js$/.test(file))
  if (name === undefined || others.length > 0) return complain('the runtime is not one file')
  const text = readFileSync(join(folder, name), 'utf8')
  const [all, list] = /\nexport \{ ([^}]+) \};\s*$/.exec(text) ?? []
  const body = text
    .slice(0, -(all?.length ?? 0))
    .replaceAll('import.meta.url', 'RUNTIME_URL')
    .replace(/(?<![#.\w])import\(/g, 'RUNTIME_IMPORT(')
  if (list === undefined || /^(import|export)\b|import\.meta|^await\b/m.test(body))
    return complain('the runtime imports something, exports in another way, or waits: it cannot be a script')
  const pairs = list.split(', ').map((entry) => entry.split(' as '))
  const value = pairs.map(([own, other]) => `${other ?? own}: ${own}`).join(', ')
  const script = shorten(`(function (RUNTIME_URL, RUNTIME_IMPORT) { "use strict"; ${body}\nreturn { ${value} };\n})`)
  const loader = bundleLoader(made, work)
  if (script === undefined || loader === undefined) return false
  const file = `runtime-${createHash('sha256').update(script).digest('hex').slice(0, 16)}.script.js`
  writeFileSync(join(folder, file), script)
  writeFileSync(join(folder, 'load-runtime.cjs'), loader)
  writeFileSync(
    join(folder, name),
    `const { createRequire } = process.getBuiltinModule("node:module");
const { loadRuntime } = createRequire(import.meta.url)("./load-runtime.cjs");
export const { ${pairs.map((pair) => pair.at(-1)).join(', ')} } = loadRuntime(import.meta.dirname + "/${file}");
`,
  )
  for (const life of LIVES) {
    rmSync(join(folder, 'spawn', life, 'entry.js'))
    const start = `loadForLife(require("node:path").join(__dirname, "../../${file}"), "${life}").${life}Main();\n`
    writeFileSync(join(folder, 'spawn', life, 'entry.cjs'), loader + start)
  }
  return true
}

/** `require()` costs a child less than the loader of modules, which it needs for the user's module only. */
function bundleLoader(made: string, work: string): string | undefined {
  const config = join(work, 'loader.config.mjs')
  const bundle = join(work, 'load-runtime.cjs')
  const input = join(made, 'src', 'spawn', 'load-runtime.js')
  const output = { file: bundle, format: 'cjs', comments: false }
  writeFileSync(config, `export default ${JSON.stringify({ input, platform: 'node', output })}\n`)
  const args = [binOf('rolldown'), '-c', config, '--log-level', 'warn']
  const bundled = spawnSync(process.execPath, args, {
    // Names of files are hashes of what is in them, comments with paths from here included.
    cwd: work,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 60_000,
  })
  return bundled.status === 0 ? readFileSync(bundle, 'utf8') : undefined
}

/** Short names for what is local, the names of functions and classes kept; a line for each of them, so that a stack says where. */
function shorten(script: string): string | undefined {
  const { code, errors } = minifySync('runtime.js', script, {
    compress: false,
    mangle: { keepNames: true },
    codegen: { removeWhitespace: true },
  })
  const short = code.replace(/;?\s*$/, '')
  const tree = parseSync('runtime.js', short)
  if (errors.length > 0 || tree.errors.length > 0 || short === '') {
    complain(
      `the runtime cannot be made shorter: ${[...errors, ...tree.errors].map(({ message }) => message).join(', ')}`,
    )
    return undefined
  }
  const starts: number[] = []
  const visit = (node: unknown, depth: number): void => {
    if (depth > DEEPEST || typeof node !== 'object' || node === null) return
    const { type, start } = node as { type?: string; start?: number }
    if (start !== undefined && /^(FunctionDeclaration|VariableDeclaration|MethodDefinition)$/.test(type ?? ''))
      starts.push(start)
    for (const value of Object.values(node)) visit(value, depth + 1)
  }
  visit(tree.program, 0)
  let lines = ''
  let at = 0
  for (const start of starts.sort((a, b) => a - b)) {
    lines += `${short.slice(at, start)}\n`
    at = start
  }
  return lines + short.slice(at)
}

function complain(what: string): false {
  console.error(`build: ${what}`)
  return false
}
