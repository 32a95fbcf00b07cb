// expect: {"id":"lock-using-disposable","class":"lock-or-semaphore-deadlock","test":"updates two settings","culprit":"lock-using-disposable.test.ts:27","accept":["lock-using-disposable.test.ts:14","lock-using-disposable.test.ts:34"],"holder":"lock-using-disposable.test.ts:22","kind":"hang","mustMention":["hold"]}
// A lock as a disposable; one caller keeps the handle in a variable instead of disposing of it.
import { expect, test } from 'vitest'

class Guarded<T> {
  private chain: Promise<void> = Promise.resolve()
  constructor(private value: T) {}
  async hold(): Promise<{ value: T; set(next: T): void; done(): void }> {
    let done: () => void = () => {}
    const previous = this.chain
    this.chain = new Promise<void>((resolve) => {
      done = resolve
    })
    await previous
    return { value: this.value, set: (next) => void (this.value = next), done }
  }
}

const settings = new Guarded({ theme: 'dark', size: 1 })

async function theme(name: string): Promise<void> {
  const held = await settings.hold()
  held.set({ ...held.value, theme: name })
}

async function size(n: number): Promise<void> {
  const held = await settings.hold()
  held.set({ ...held.value, size: n })
  held.done()
}

test('updates two settings', async () => {
  await theme('light')
  await size(2)
  expect((await settings.hold()).value).toEqual({ theme: 'light', size: 2 })
})
