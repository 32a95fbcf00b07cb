// expect: {"id":"lost-event-target","class":"lost-promise","test":"waits for a state change","culprit":"lost-event-target.test.ts:22","kind":"hang","mustMention":["change"]}
// An EventTarget dispatched before the listener was there; AbortSignal given but never aborted.
import { expect, test } from 'vitest'

class Machine extends EventTarget {
  state = 'idle'
  go(state: string): void {
    this.state = state
    this.dispatchEvent(new Event('change'))
  }
  until(state: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.addEventListener('change', () => this.state === state && resolve(), { signal })
    signal.addEventListener('abort', () => reject(signal.reason))
    return promise
  }
}

test('waits for a state change', async () => {
  const machine = new Machine()
  machine.go('running')
  await machine.until('running', new AbortController().signal)
  expect(machine.state).toBe('running')
})
