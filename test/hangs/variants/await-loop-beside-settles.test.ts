// expect: {"id":"await-loop-beside-settles","class":"await-never-settles-with-live-resource","test":"gets the reply to its own letter","culprit":"await-loop-beside-settles.test.ts:24","accept":["await-loop-beside-settles.test.ts:12","await-loop-beside-settles.test.ts:17"],"kind":"hang","mustMention":["reply"]}
// A loop that nobody awaits hands out what comes in; the letter has the number of somebody else.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

const waiting = new Map<number, (text: string) => void>()
const inbox: { to: number; text: string }[] = []

async function deliver(): Promise<void> {
  while (waiting.size > 0) {
    for (const { to, text } of inbox.splice(0)) waiting.get(to)?.(text)
    await sleep(10)
  }
}

function letter(to: number): Promise<string> {
  return new Promise((resolve) => waiting.set(to, resolve))
}

test('gets the reply to its own letter', async () => {
  const reply = letter(7)
  void deliver()
  inbox.push({ to: 8, text: 'hello' })
  expect(await reply).toBe('hello')
})
