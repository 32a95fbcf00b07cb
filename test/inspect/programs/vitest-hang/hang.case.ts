import { expect, test, vi } from 'vitest'

const waiting: ((value: string) => void)[] = []

async function harrowOwner(_label: string, body: () => unknown): Promise<unknown> {
  return await body()
}

async function readReply(): Promise<string> {
  return await new Promise<string>((resolve) => waiting.push(resolve))
}

test('an earlier test leaves a function behind', () => {
  readReply()
})

test.concurrent('hangs in a plain body', async function plainBody() {
  expect(await readReply()).toBe('released')
})

test.concurrent('hangs on a fake timer', async function fakeTimer() {
  vi.useFakeTimers()
  await new Promise((resolve) => setTimeout(resolve, 5000))
})

test.concurrent('hangs in a marked body', () =>
  harrowOwner('harrow:marked', async () => {
    const file = process.env.HARROW_TEST_DUMP ?? ''
    const release = (): void => {
      for (const resolve of waiting) resolve('released')
      vi.advanceTimersByTime(5000)
      vi.useRealTimers()
    }
    Object.assign(globalThis, { hang: { file, release } })
    await readReply()
  }))
