import { expect, test } from 'vitest'
import { parseAddress } from '../../src/wire/address.ts'
import { lateAfter } from '../../src/wire/late.ts'
import { dial, listen } from '../../src/wire/listener.ts'
import type { Transport } from '../../src/wire/transport.ts'
import { inFolder } from '../actor/world.ts'

/** The thread does nothing else meanwhile, as where the machine gives it no time. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

test('R-211 an answer that had come before the limit counts, though the loop gets to its timer first', async () => {
  await inFolder(async (folder) => {
    const accepted = Promise.withResolvers<Transport>()
    const listener = await listen(parseAddress(`unix:${folder}/s.sock`), { onTransport: accepted.resolve })
    const near = await dial(listener.address, { limitMs: 2000 })
    const far = await accepted.promise
    const heard: string[] = []
    near.start({ frame: () => heard.push('answer'), closed: () => {} })
    far.start({ frame: () => {}, closed: () => {} })
    try {
      const told = new Promise<void>((resolve) => {
        lateAfter(5, () => {
          heard.push('late')
          resolve()
        })
      })
      far.send([Buffer.from([1, 0, 0, 0, 7])])
      // Written at the end of this turn; then the limit passes while nothing is read.
      process.nextTick(() => block(30))
      await told
      expect(heard).toEqual(['answer', 'late'])
    } finally {
      near.destroy()
      far.destroy()
      await listener.close(0)
    }
  })
})

test('a limit that was taken back calls nobody, also in the turns after it', async () => {
  const heard: string[] = []
  const back = lateAfter(1, () => heard.push('late'))
  block(5)
  setImmediate(back)
  // Behind the two turns that it would have waited.
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(heard).toEqual([])
})
