// npm run example:words: the most frequent words of a text, counted by four actors.
import { readFileSync } from 'node:fs'
import { openNursery } from 'harrow'
import { countWords } from './count.ts'

const ACTORS = 4
const lines = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8').split('\n')

const total = new Map<string, number>()
await openNursery(async (an) => {
  const share = Math.ceil(lines.length / ACTORS)
  const portals = await Promise.all(
    Array.from({ length: ACTORS }, (_, n) =>
      an.runInActor(countWords, { name: `counter-${n}`, args: [lines.slice(n * share, (n + 1) * share)] }),
    ),
  )
  for (const portal of portals) {
    for (const [word, count] of await portal.waitForResult()) total.set(word, (total.get(word) ?? 0) + count)
  }
})

const most = [...total].sort(([, a], [, b]) => b - a).slice(0, 5)
console.log(most.map(([word, count]) => `${word} ${count}`).join(', '))
