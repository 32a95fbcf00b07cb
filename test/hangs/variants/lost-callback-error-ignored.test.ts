// expect: {"id":"lost-callback-error-ignored","class":"lost-promise","test":"reads the settings","culprit":"lost-callback-error-ignored.test.ts:16","accept":["lost-callback-error-ignored.test.ts:7"],"holder":"lost-callback-error-ignored.test.ts:7","kind":"hang","mustMention":["settings"]}
// The callback returns on an error without rejecting.
import { readFile } from 'node:fs'
import { expect, test } from 'vitest'

function settings(path: string): Promise<object> {
  return new Promise((resolve) => {
    readFile(path, 'utf8', (error, text) => {
      if (error) return
      resolve(JSON.parse(text))
    })
  })
}

test('reads the settings', async () => {
  expect(await settings('/nonexistent/settings.json')).toEqual({})
})
