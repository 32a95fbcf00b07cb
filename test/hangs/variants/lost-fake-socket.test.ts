// expect: {"id":"lost-fake-socket","class":"lost-promise","test":"handles the answer of the till","culprit":"lost-fake-socket.test.ts:20","accept":["lost-fake-socket.test.ts:29"],"kind":"hang","mustMention":["answer"]}
// A socket that is faked with an emitter and shared by the tests of the file: nobody emits the answer.
import { EventEmitter, once } from 'node:events'
import { expect, test } from 'vitest'

class FakeSocket extends EventEmitter {
  readonly written: string[] = []
  write(text: string): boolean {
    this.written.push(text)
    if (text.startsWith('PING')) queueMicrotask(() => this.emit('answer', 'PONG'))
    return true
  }
}

const socket = new FakeSocket()

async function ask(line: string): Promise<string> {
  const answered = once(socket, 'answer')
  socket.write(`${line}\r\n`)
  const [answer] = await answered
  return answer
}

test('handles a ping', async () => {
  expect(await ask('PING')).toBe('PONG')
})

test('handles the answer of the till', async () => {
  expect(await ask('ping')).toBe('PONG')
})
