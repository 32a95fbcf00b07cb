// npm run example:words | example:service | example:pipeline; HARROW_BACKEND chooses the backend.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.ts'
import { linkHarrow, root } from './checkout.ts'

const [name = ''] = process.argv.slice(2)
const folder = join(root, 'examples', 'actors')
const program = join(folder, name, 'main.ts')
if (!existsSync(program)) {
  console.error(`no example ${JSON.stringify(name)}: words, service, pipeline`)
  process.exit(2)
}
if (!existsSync(join(root, 'dist', 'src', 'index.js')) && !build()) process.exit(1)
linkHarrow(folder)
const child = spawn(process.execPath, ['--no-warnings', program], { stdio: 'inherit' })
// Ctrl-C reaches it by itself; we end with it.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => child.kill('SIGTERM'))
child.once('exit', (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 128 + 2
})
