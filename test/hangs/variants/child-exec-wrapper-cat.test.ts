// expect: {"id":"child-exec-wrapper-cat","class":"child-process-stuck","test":"hashes a text","culprit":"child-exec-wrapper-cat.test.ts:19","holder":"child-exec-wrapper-cat.test.ts:8","kind":"hang","mustMention":["stdin"]}
// A helper around a filter: it writes the input and forgets to end it when there is none.
import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'

function pipe(command: string, args: string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'pipe', timeout: 90_000 })
    const parts: Buffer[] = []
    child.stdout.on('data', (part) => parts.push(part))
    child.on('error', reject)
    child.on('close', () => resolve(Buffer.concat(parts).toString()))
    if (input !== '') child.stdin.end(input)
  })
}

test('hashes a text', async () => {
  expect(await pipe('sort', [], 'b\na\n')).toBe('a\nb\n')
  expect(await pipe('sort', [], '')).toBe('')
})
