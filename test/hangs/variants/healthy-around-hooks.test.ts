// expect: {"id":"healthy-around-hooks","class":"none","test":"one","culprit":null,"kind":"healthy","mustMention":[]}
import { setTimeout as sleep } from 'node:timers/promises'
import { aroundAll, aroundEach, describe, expect, test } from 'vitest'
const seen: string[] = []
aroundAll(async (run) => { seen.push('all>'); await sleep(300); await run(); await sleep(300); seen.push('<all') })
aroundEach(async (run, { task }) => { seen.push(`each> ${task.name}`); await run(); await sleep(20); seen.push('<each') })
aroundEach(async (run) => { seen.push('in>'); await run(); seen.push('<in') })
test('one', async () => { await sleep(10); expect(seen).toEqual(['all>', 'each> one', 'in>']) })
describe('inner', () => {
  aroundEach(async (run) => { seen.push('deep>'); await run(); seen.push('<deep') })
  test('two', () => { expect(seen.slice(3)).toEqual(['<in', '<each', 'each> two', 'in>', 'deep>']) })
  test.fails('three', () => { throw new Error('x') })
})
