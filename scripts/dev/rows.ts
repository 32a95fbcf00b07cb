// npm run rows: which rows of the runtime's contract have a test. Fails on a must-row without one.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './checkout.ts'
import { filesBelow } from './files.ts'

interface Row {
  id: string
  priority: 'M' | 'S' | 'L'
  /** Why a must-row needs no test here: it belongs to something that is not built yet. */
  later?: string
}

const rows = JSON.parse(readFileSync(join(root, 'test/rows.json'), 'utf8')) as Row[]
const tests = new Map<string, string[]>()
for (const file of filesBelow(root, 'test', '.test.ts')) {
  const text = readFileSync(join(root, file), 'utf8')
  // Titles of tests and suites begin with the rows that they cover.
  for (const [, title = ''] of text.matchAll(/\(\s*['"`](R-\d{3}[^'"`\n]*)/g)) {
    for (const [id] of title.matchAll(/R-\d{3}/g)) tests.set(id, [...(tests.get(id) ?? []), `${file}: ${title}`])
  }
}

const missing = rows.filter(({ id, priority, later }) => priority === 'M' && later === undefined && !tests.has(id))
const json = process.argv.includes('--json')
if (json) {
  const table = rows.map((row) => ({ ...row, tests: tests.get(row.id) ?? [] }))
  console.log(JSON.stringify({ format: 1, rows: table, missing: missing.map(({ id }) => id) }, null, 2))
} else {
  for (const { id, priority, later } of rows) {
    const found = tests.get(id) ?? []
    const note = later ? `later: ${later}` : priority === 'M' ? 'NO TEST' : '-'
    console.log(
      `${id}  ${priority}  ${found.length === 0 ? note : found[0]}${found.length > 1 ? `  (+${found.length - 1})` : ''}`,
    )
  }
  const must = rows.filter(({ priority, later }) => priority === 'M' && !later)
  console.log(`\n${must.length - missing.length} of ${must.length} must-rows have a test`)
  for (const { id } of missing) console.log(`missing: ${id}`)
}
process.exitCode = missing.length > 0 ? 1 : 0
