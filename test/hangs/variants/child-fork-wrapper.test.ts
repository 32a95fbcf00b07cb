// expect: {"id":"child-fork-wrapper","class":"child-process-stuck","test":"finishes the forked job","culprit":"child-fork-wrapper.test.ts:32","holder":"child-fork-wrapper.test.ts:17","kind":"hang","mustMention":["exit"]}
// A class around fork(): it never disconnects, so the child stays.
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const file = join(mkdtempSync(join(tmpdir(), 'corpus-fork-')), 'job.mjs')
writeFileSync(file, `process.on('message', (n) => process.send(n + 1)); setTimeout(() => process.exit(4), 90000).unref()`)

class Job {
  readonly #child: ChildProcess
  readonly ended: Promise<number | null>
  constructor() {
    const ended = Promise.withResolvers<number | null>()
    this.#child = fork(file, { execArgv: [] })
    this.#child.on('exit', (code) => ended.resolve(code))
    this.ended = ended.promise
  }
  next(n: number): Promise<number> {
    return new Promise((resolve) => {
      this.#child.once('message', resolve)
      this.#child.send(n)
    })
  }
}

test('finishes the forked job', async () => {
  const job = new Job()
  expect(await job.next(1)).toBe(2)
  expect(await job.ended).toBe(0)
})
