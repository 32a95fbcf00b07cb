// expect: {"id":"lost-let-beside-method","class":"lost-promise","test":"answers after start","kind":"hang","mustMention":["started"],"culprit":"lost-let-beside-method.test.ts:31","accept":["lost-let-beside-method.test.ts:9"]}
// The most common layout of a suite: a variable of the file, made in the test, and a wait that is lost in one of its methods.
import { afterEach, expect, test } from 'vitest'

class Gateway {
  open = false
  #listening: (() => void) | undefined
  started(): Promise<void> {
    return new Promise((resolve) => {
      this.#listening = resolve
    })
  }
  listen(port: number): void {
    queueMicrotask(() => {
      if (port === 0) return
      this.open = true
      this.#listening?.()
    })
  }
  close(): void {
    this.open = false
  }
}

let gateway: Gateway
afterEach(() => gateway.close())

test('answers after start', async () => {
  gateway = new Gateway()
  gateway.listen(0)
  await gateway.started()
  expect(gateway.open).toBe(true)
})
