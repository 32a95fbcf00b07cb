// expect: {"id":"fake-timers-own-clock","class":"fake-timers","test":"throttles a save","culprit":"fake-timers-own-clock.test.ts:26","accept":["fake-timers-own-clock.test.ts:33"],"holder":"fake-timers-own-clock.test.ts:11","kind":"hang","mustMention":["setTimeout"]}
// The test replaces the timers by hand and runs them once too early.
import { afterEach, beforeEach, expect, test } from 'vitest'

const real = globalThis.setTimeout

function manualTimers() {
  const due: Array<() => void> = []
  return {
    install(): void {
      globalThis.setTimeout = ((run: () => void) => due.push(run)) as never
    },
    flush(): void {
      for (const run of due.splice(0)) run()
    },
  }
}

const timers = manualTimers()
beforeEach(() => timers.install())
afterEach(() => {
  globalThis.setTimeout = real
})

async function throttled(save: () => void): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, 100))
  save()
}

test('throttles a save', async () => {
  let saves = 0
  timers.flush()
  await throttled(() => saves++)
  expect(saves).toBe(1)
})
