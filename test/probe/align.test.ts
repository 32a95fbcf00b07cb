import { stripTypeScriptTypes } from 'node:module'
import { describe, expect, test } from 'vitest'
import { alignTexts } from '../../src/probe/align.ts'

const FILE = `import { expect, test } from 'vitest'
import { Pool } from './pool.ts'

interface Row {
  id: number
}

const pool: Pool<Row> = new Pool()

async function query(text: string): Promise<string> {
  const row = await pool.acquire()
  return \`\${row.id} \${text}\`
}

test('asks twice', async () => {
  await query('select 1')
  await query('select 2')
  expect(await query('select 3')).toBe('1')
})
`
/** As vitest runs it. */
const RUNNING = `'use strict';async (__vite_ssr_import__)=>{{const __vite_ssr_import_0__ = await __vite_ssr_import__("/vitest");
const __vite_ssr_import_1__ = await __vite_ssr_import__("/pool.ts");


const pool = new __vite_ssr_import_1__.Pool();
async function query(text) {
\tconst row = await pool.acquire();
\treturn \`\${row.id} \${text}\`;
}
(0,__vite_ssr_import_0__.test)("asks twice", async () => {
\tawait query("select 1");
\tawait query("select 2");
\t(0,__vite_ssr_import_0__.expect)(await query("select 3")).toBe("1");
});
}}`

/** Line and column, from 1, in the file of a place in the running text that is given by a piece of its line. */
function placeOf(piece: string, word: string, map = alignTexts(RUNNING, FILE, '/a.ts')): [number, number] | undefined {
  const lines = RUNNING.split('\n')
  const line = lines.findIndex((one) => one.includes(piece))
  const column = (lines[line] as string).indexOf(word)
  const found = map?.mappings[line]?.find(([from]) => from === column)
  return found && [found[2] + 1, found[3] + 1]
}

describe('text that was changed before it ran', () => {
  test.each<[string, string, [number, number]]>([
    ['pool.acquire()', 'await', [11, 15]],
    ['return `', 'return', [12, 3]],
    ['select 1', 'await', [16, 3]],
    ['select 2', 'await', [17, 3]],
    ['select 3', 'await', [18, 10]],
    ['select 3', 'toBe', [18, 35]],
  ])('is found in the file again: %s', (piece, word, place) => {
    expect(placeOf(piece, word)).toEqual(place)
  })

  test('has no map where only types were blanked out', () => {
    expect(alignTexts(stripTypeScriptTypes(FILE), FILE, '/a.ts')).toBeUndefined()
    expect(alignTexts(FILE, FILE, '/a.ts')).toBeUndefined()
  })

  test('has no place in a file that is another one', () => {
    const map = alignTexts('one()\ntwo()\nthree()', 'nothing of it\nat all', '/a.ts')
    expect(map?.mappings).toEqual([[], [], []])
  })

  test('of equal lines takes the one in the same order, and none when their numbers differ', () => {
    const running = 'start();\nawait go();\nawait go();\nend();'
    const lines = (file: string): (number | undefined)[] =>
      alignTexts(running, file, '/a.ts')?.mappings.map(([first]) => first && first[2] + 1) ?? []
    expect(lines('// x\nstart()\n\nawait go()\n\nawait go()\nend()')).toEqual([2, 4, 6, 7])
    expect(lines('// x\nstart()\nawait go()\nend()')).toEqual([2, undefined, undefined, 4])
  })
})
