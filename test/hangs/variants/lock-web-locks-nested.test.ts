// expect: {"id":"lock-web-locks-nested","class":"lock-or-semaphore-deadlock","test":"refreshes the token once","culprit":"lock-web-locks-nested.test.ts:8","accept":["lock-web-locks-nested.test.ts:16","lock-web-locks-nested.test.ts:22"],"holder":"lock-web-locks-nested.test.ts:15","kind":"hang","mustMention":["locks.request"]}
// navigator.locks: the callback asks for the lock that it runs under.
import { expect, test } from 'vitest'

let token = 'old'

async function refresh(): Promise<string> {
  return await navigator.locks.request('token', async () => {
    token = 'new'
    return token
  })
}

async function call(): Promise<string> {
  return await navigator.locks.request('token', async () => {
    if (token === 'old') await refresh()
    return token
  })
}

test('refreshes the token once', async () => {
  expect(await call()).toBe('new')
})
