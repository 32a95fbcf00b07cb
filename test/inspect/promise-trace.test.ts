import { EventEmitter, once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type PromiseTrace, startPromiseTrace } from '../../src/inspect/promise-trace.ts'

const isUser = (url: string): boolean => /promise-trace\.test\.ts|fixtures\/promise-trace/.test(url)

let trace: PromiseTrace | undefined

afterEach(() => {
  trace?.stop()
  trace = undefined
})

interface RunOptions {
  maxPromises?: number
  /** Settles when the body has come to its last `await`; at once by default. */
  arrived?: Promise<unknown>
}

/** Runs a body as a test runner would, lets the loop turn, and looks for what was lost. */
async function run(body: () => unknown, options: RunOptions = {}): Promise<PromiseTrace> {
  const started = startPromiseTrace({ isUser, ...options })
  trace = started
  start(started, body)
  await options.arrived
  await started.settle(5000)
  return started
}

/** Apart, so that no frame of the caller keeps the promise. */
function start(started: PromiseTrace, body: () => unknown): void {
  started.watchBody(body())
}

/** Functions in which the lost promises were awaited and made. */
function names(started: PromiseTrace): [string | undefined, string | undefined][] {
  return started.check().map(({ awaited, created }) => [awaited[0]?.fn, created[0]?.fn])
}

async function wait(promise: Promise<unknown>): Promise<void> {
  await promise
}

function never(): Promise<unknown> {
  return new Promise(() => {})
}

describe('a lost promise', () => {
  test('is named when the abort listener came after the abort', async () => {
    function whenAborted(signal: AbortSignal): Promise<unknown> {
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }))
    }
    const found = await run(async function body() {
      const controller = new AbortController()
      controller.abort(new Error('stop'))
      await whenAborted(controller.signal)
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'whenAborted']])
  })

  test('is named when one path forgets to resolve', async () => {
    const cache = new Map<string, string>()
    function read(key: string): Promise<string> {
      return new Promise((resolve) => {
        const hit = cache.get(key)
        if (hit !== undefined) return
        setTimeout(() => {
          cache.set(key, key)
          resolve(key)
        }, 1)
      })
    }
    const arrived = Promise.withResolvers<void>()
    const found = await run(
      async function body() {
        await read('a')
        arrived.resolve()
        await read('a')
      },
      { arrived: arrived.promise },
    )
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'read']])
    const [lost] = found.check()
    expect(lost?.awaited[0]?.at?.url).toContain('promise-trace.test.ts')
    expect(lost?.awaited[0]?.at?.line).toBe(lost?.created[1]?.at?.line)
  })

  test('is named when the event came before the listener', async () => {
    const found = await run(async function body() {
      const service = new EventEmitter()
      service.emit('ready')
      await once(service, 'ready')
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'body']])
  })

  test('is found at the innermost await of a chain of helpers', async () => {
    async function readReply(): Promise<unknown> {
      await null
      const reply = await never()
      return reply
    }
    async function call(): Promise<unknown> {
      const reply = await readReply()
      return reply
    }
    const found = await run(async function body() {
      await Promise.resolve()
      const reply = await call()
      return reply
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['readReply', 'never']])
  })

  test('is found below Promise.all, every branch of it', async () => {
    async function left(): Promise<void> {
      await never()
    }
    async function right(): Promise<void> {
      await 1
      await never()
    }
    const found = await run(async function body() {
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
      await Promise.all([left(), 5, right(), { then: (go: () => void) => go() }])
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([
      ['right', 'never'],
      ['left', 'never'],
    ])
  })

  test('is found behind then, catch and finally', async () => {
    const found = await run(async function body() {
      await never()
        .then(() => 1)
        .catch(() => 2)
        .finally(() => {})
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'never']])
  })

  test('is found behind async functions that return it', async () => {
    async function inner(): Promise<unknown> {
      return never()
    }
    async function outer(): Promise<unknown> {
      await null
      return inner()
    }
    const found = await run(async function body() {
      await outer()
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'never']])
  })

  test('is found behind a promise that somebody still holds', async () => {
    const held: Promise<unknown>[] = []
    async function work(): Promise<void> {
      await never()
    }
    const found = await run(async function body() {
      held.push(work())
      await held[0]
    })
    expect(held).toHaveLength(1)
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['work', 'never']])
  })

  test('is found behind an async generator', async () => {
    async function* pages(): AsyncGenerator<number> {
      yield 1
      await never()
      yield 2
    }
    const found = await run(async function body() {
      for await (const page of pages()) expect(page).toBe(1)
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)[0]).toEqual(['pages', 'never'])
  })

  test('is found behind a thenable that never calls back', async () => {
    const found = await run(async function body() {
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
      const thenable: unknown = { then() {} }
      await thenable
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'body']])
  })

  test('is found behind a race that only had lost promises', async () => {
    const found = await run(async function body() {
      await Promise.race([never(), never()])
    })
    expect(found.bodyLost()).toBe(true)
    expect(names(found)[0]).toEqual(['body', 'never'])
  })

  test('is found in a function that used import() and native promises before', async () => {
    const arrived = Promise.withResolvers<void>()
    const found = await run(
      async function body() {
        const module = import('node:path')
        await readFile(import.meta.filename)
        const again = import('node:os')
        await module
        await again
        arrived.resolve()
        await never()
      },
      { arrived: arrived.promise },
    )
    expect(found.bodyLost()).toBe(true)
    expect(names(found)).toEqual([['body', 'never']])
  })

  test('is found at the top level of a module', async () => {
    const arrived = Promise.withResolvers<void>()
    Object.assign(globalThis, { [Symbol.for('harrow.test.arrived')]: arrived.resolve })
    const found = await run(() => import('../fixtures/promise-trace/lost-top-level.ts'), { arrived: arrived.promise })
    expect(found.check()[0]?.awaited[0]?.at?.url).toContain('lost-top-level.ts')
    expect(found.bodyLost()).toBe(true)
  })

  test('is the body itself when no function is suspended', async () => {
    const found = await run(() => never())
    expect(found.bodyLost()).toBe(true)
    expect(found.check()).toEqual([])
  })

  test('is told by its birth when it was returned by a function that awaits nothing', async () => {
    const wrapped = Promise.withResolvers<unknown>()
    // A runner keeps a promise of its own, which nothing connects to what the function returned.
    const found = await run(() => {
      never().then(wrapped.resolve)
      return wrapped.promise
    })
    expect(found.check()).toEqual([])
    expect(found.results().map(({ created, awaited }) => [created[0]?.fn, awaited])).toEqual([['never', []]])
  })
})

describe('what is not lost', () => {
  test('is a promise that a timer will settle', async () => {
    let timer: NodeJS.Timeout | undefined
    const found = await run(async function body() {
      await new Promise((resolve) => {
        timer = setTimeout(resolve, 60_000)
      })
    })
    expect(found.bodyLost()).toBe(false)
    expect(found.check()).toEqual([])
    expect(found.waiting().map(({ awaited }) => awaited[0]?.fn)).toEqual(['body'])
    clearTimeout(timer)
  })

  test('is a body that ended, whatever its races left behind', async () => {
    const found = await run(async function body() {
      const winner = await Promise.race([never(), Promise.resolve(1), never()])
      expect(winner).toBe(1)
    })
    expect(found.bodyLost()).toBe(false)
    expect(found.check()).toEqual([])
  })

  test('is a race that one living promise can still win', async () => {
    let timer: NodeJS.Timeout | undefined
    const found = await run(async function body() {
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, 60_000)
      })
      await Promise.race([never(), late])
    })
    expect(found.bodyLost()).toBe(false)
    expect(found.check()).toEqual([])
    clearTimeout(timer)
  })

  test('is a race with a thenable that is alive', async () => {
    let settle: (() => void) | undefined
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
    const thenable = { then: (go: () => void) => (settle = go) }
    const found = await run(async function body() {
      await Promise.race([never(), thenable])
    })
    expect(found.bodyLost()).toBe(false)
    settle?.()
  })

  test('is a deferred of the module whose resolver nobody calls: it is alive and only waited for', async () => {
    const deferred = Promise.withResolvers()
    const found = await run(async function hook() {
      await deferred.promise
    })
    expect(found.bodyLost()).toBe(false)
    expect(found.check()).toEqual([])
    expect(found.waiting().map(({ awaited }) => awaited[0]?.fn)).toEqual(['hook'])
    deferred.resolve(undefined)
  })

  test('is a body that waits for a living promise while another function of it was lost', async () => {
    const alive = Promise.withResolvers()
    const found = await run(async function body() {
      void wait(never())
      await alive.promise
    })
    expect(found.bodyLost()).toBe(false)
    expect(names(found)).toEqual([['wait', 'never']])
    alive.resolve(undefined)
  })
})

describe('the trace', () => {
  test('puts what the body waits for before what others lost later', async () => {
    const arrived = Promise.withResolvers<void>()
    const found = await run(
      async function body() {
        setImmediate(() => {
          void wait(never())
          arrived.resolve()
        })
        await never()
      },
      { arrived: arrived.promise },
    )
    expect(names(found)).toEqual([
      ['body', 'never'],
      ['wait', 'never'],
    ])
  })

  test('leaves prepareStackTrace and stackTraceLimit as the user set them', async () => {
    const prepare = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace')
    const limit = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')
    await run(async () => {
      await 1
    })
    expect(Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace')).toEqual(prepare)
    expect(Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')).toEqual(limit)
  })

  test('says so when it had no room for every promise', async () => {
    const found = await run(
      async () => {
        const all: Promise<unknown>[] = []
        for (let index = 0; index < 100; index++) all.push(never())
        await Promise.race(all)
      },
      { maxPromises: 50 },
    )
    expect(found.complete()).toBe(false)
  })

  test('records no more once it was stopped', async () => {
    const found = await run(() => undefined)
    found.stop()
    start(found, () => wait(never()))
    await found.settle()
    expect(found.check()).toEqual([])
  })
})
