// expect: {"id":"lost-own-class-server","class":"lost-promise","test":"answers after start","kind":"hang","mustMention":["started"],"culprit":"lost-own-class-server.test.ts:31","accept":["lost-own-class-server.test.ts:9"]}
// The most common layout of a suite: a variable of the file, made in the test, and a wait that is lost in one of its methods.
import { afterEach, expect, test } from 'vitest'

class Server {
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

let server: Server
afterEach(() => server.close())

test('answers after start', async () => {
  server = new Server()
  server.listen(0)
  await server.started()
  expect(server.open).toBe(true)
})
