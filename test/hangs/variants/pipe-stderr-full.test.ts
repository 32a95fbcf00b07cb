// expect: {"id":"pipe-stderr-full","class":"pipe-or-backpressure-deadlock","test":"lints a big project","culprit":"pipe-stderr-full.test.ts:21","holder":"pipe-stderr-full.test.ts:13","kind":"hang","mustMention":["stderr"]}
// Only stdout is read; the warnings fill stderr.
import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'

const LINTER = `
  process.stderr.write('warning\\n'.repeat(100000), () => { console.log('done'); process.exit(0) })
  setTimeout(() => process.exit(5), 90000).unref()
`

function lint(): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', LINTER])
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
    child.on('close', () => resolve(out))
  })
}

test('lints a big project', async () => {
  const out = await lint()
  expect(out).toBe('done\n')
})
