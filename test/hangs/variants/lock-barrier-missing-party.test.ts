// expect: {"id":"lock-barrier-missing-party","class":"lost-promise","test":"starts three runners","culprit":"lock-barrier-missing-party.test.ts:14","accept":["lock-barrier-missing-party.test.ts:10","lock-barrier-missing-party.test.ts:19","lock-barrier-missing-party.test.ts:25"],"kind":"hang","mustMention":["arrive"]}
// A barrier for three; only two arrive.
import { expect, test } from 'vitest'

class Barrier {
  #arrived = 0
  #open: () => void = () => {}
  readonly #gate: Promise<void>
  constructor(private readonly parties: number) {
    this.#gate = new Promise((resolve) => (this.#open = resolve))
  }
  async arrive(): Promise<void> {
    if (++this.#arrived === this.parties) this.#open()
    await this.#gate
  }
}

async function run(barrier: Barrier, name: string): Promise<string> {
  await barrier.arrive()
  return name
}

test('starts three runners', async () => {
  const barrier = new Barrier(3)
  const names = await Promise.all([run(barrier, 'a'), run(barrier, 'b')])
  expect(names).toEqual(['a', 'b'])
})
