// expect: {"id":"await-interval-condition-class","class":"await-never-settles-with-live-resource","test":"waits for three healthy nodes","culprit":"await-interval-condition-class.test.ts:26","kind":"hang","mustMention":["waitFor"]}
// A polling class; a node reports its state in another case.
import { expect, test } from 'vitest'

class Watcher {
  constructor(private readonly states: Map<string, string>) {}
  waitFor(state: string): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    let checks = 0
    const check = (): void => {
      checks++
      if ([...this.states.values()].every((one) => one === state)) resolve(checks)
      else setTimeout(check, 20)
    }
    check()
    return promise
  }
}

test('waits for three healthy nodes', async () => {
  const states = new Map([
    ['n1', 'up'],
    ['n2', 'up'],
    ['n3', 'UP'],
  ])
  expect(await new Watcher(states).waitFor('up')).toBe(1)
})
