import { afterEach, expect, test } from 'vitest'
import type { FromWorker } from '../../harness/protocol.ts'
import { startTrace, type Trace } from '../../harness/worker/trace.ts'

let trace: Trace | undefined
afterEach(() => trace?.stop())

/** So long that the test itself would time out, should the trace wait for its limit. */
const LIMIT_MS = 600_000

function told(owner: string, ms = LIMIT_MS): Promise<FromWorker> {
  return new Promise((resolve) => {
    trace = startTrace(resolve, { owner, ms })
  })
}

async function forgets(): Promise<void> {
  await new Promise(() => {})
}

class Lock {
  #taken = false
  readonly #waiting: (() => void)[] = []
  async acquire(): Promise<void> {
    if (this.#taken) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#taken = true
  }
}

async function takesTwice(): Promise<void> {
  const lock = new Lock()
  await lock.acquire()
  await lock.acquire()
}

test('a loss is told at once, with the lines, and not only at the limit', async () => {
  const message = told('harrow:test:1')
  trace!.watch('harrow:test:1', forgets())
  const { body, lost } = (await message) as Extract<FromWorker, { lost: unknown }>
  expect(body).toBe(true)
  expect(lost[0]?.awaited[0]).toMatchObject({ fn: 'forgets', at: { url: expect.stringMatching(/trace\.test\.ts/) } })
  expect(lost[0]?.created[0]).toMatchObject({ fn: 'forgets' })
})

test('a lock that only those who wait for it hold is told with the loss of its promise', async () => {
  const message = told('harrow:test:2')
  trace!.watch('harrow:test:2', takesTwice())
  const { body, lost, locks } = (await message) as Extract<FromWorker, { lost: unknown }>
  expect(body).toBe(true)
  expect(lost).not.toEqual([])
  expect(locks?.waits[0]?.holders[0]?.taken).toMatchObject({ fn: 'takesTwice' })
})

test('what runs before or beside the section that hung is not taken for it', async () => {
  const message = told('harrow:test:3', 0)
  trace!.watch('harrow:hook:beforeAll:', forgets())
  trace!.watch('harrow:test:3', takesTwice())
  trace!.watch('harrow:test:4', forgets())
  const { lost } = (await message) as Extract<FromWorker, { lost: unknown }>
  expect(lost[0]?.awaited.map(({ fn }) => fn)).toContain('takesTwice')
})
