// expect: {"id":"lock-semaphore-lost-on-throw","class":"lock-or-semaphore-deadlock","test":"downloads after two failures","culprit":"lock-semaphore-lost-on-throw.test.ts:23","accept":["lock-semaphore-lost-on-throw.test.ts:10","lock-semaphore-lost-on-throw.test.ts:33"],"holder":"lock-semaphore-lost-on-throw.test.ts:23","kind":"hang","mustMention":["take"]}
// The permit is given back only on success; two failed downloads have used up both of them.
import { expect, test } from 'vitest'

const permits = {
  left: 2,
  queue: [] as Array<(value: void) => void>,
  async take() {
    if (this.left === 0) {
      await new Promise<void>((resolve) => {
        this.queue.push(resolve)
      })
    }
    this.left -= 1
  },
  give() {
    this.left += 1
    this.queue.shift()?.()
  },
}

async function download(url: string): Promise<string> {
  await permits.take()
  const [scheme] = url.split(':')
  if (scheme !== 'https') throw new Error(`cannot download ${url}`)
  permits.give()
  return `body of ${url}`
}

test('downloads after two failures', async () => {
  await expect(download('ftp://a')).rejects.toThrow('ftp')
  await expect(download('gopher://b')).rejects.toThrow('gopher')
  expect(await download('https://c')).toContain('c')
})
