// expect: {"id":"lost-self-await","class":"lost-promise","test":"closes twice","culprit":"lost-self-await.test.ts:9","accept":["lost-self-await.test.ts:12","lost-self-await.test.ts:19"],"kind":"hang","mustMention":["close"]}
// A function waits for the promise of its own call.
import { expect, test } from 'vitest'

class Connection {
  closing: Promise<void> | null = null
  async flush(): Promise<void> {
    await Promise.resolve()
    if (this.closing) await this.closing
  }
  close(): Promise<void> {
    this.closing ??= this.flush()
    return this.closing
  }
}

test('closes twice', async () => {
  const connection = new Connection()
  await connection.close()
  expect(connection.closing).not.toBeNull()
})
