import { getEventListeners } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { setTimeout as nodeSleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { root } from '../../scripts/dev/checkout.ts'
import {
  CancelledError,
  checkpoint,
  currentScope,
  currentTask,
  DeadlineExceeded,
  failAfter,
  isCancelled,
  isMultiCancelled,
  moveOnAfter,
  onUncooperative,
  openTaskNursery,
  park,
  runScope,
  scopeLimits,
  shield,
  sleep,
  TaskGroupError,
  taskTree,
  uncooperativeTasks,
  WAIT_REASONS,
  withCleanup,
  withSignal,
} from '../../src/index.ts'
import { eventually, failure } from '../actor/world.ts'
import { filesBelow, read } from '../source.ts'

describe('a scope', () => {
  test('R-002 rejects every wait in it once it is cancelled, again and again', async () => {
    const seen: unknown[] = []
    await runScope({ name: 'it' }, async (scope) => {
      scope.cancel('enough')
      for (const wait of [() => sleep(1), checkpoint, () => park({ reason: 'event' }, () => {}), () => sleep(1)]) {
        seen.push(await failure(wait()))
      }
      expect(scope.cancel('again')).toBe(false)
      throw seen[0]
    })
    expect(seen).toHaveLength(4)
    expect(new Set(seen).size).toBe(1)
    expect(seen[0]).toMatchObject({ name: 'CancelledError', source: 'explicit', message: 'enough' })
  })

  test('R-004 its signal has the very error as its reason, also for what Node wraps', async () => {
    const seen: unknown[] = []
    await runScope({}, async (scope) => {
      setImmediate(() => scope.cancel('over'))
      const error = await failure(nodeSleep(60_000, undefined, { signal: scope.signal }))
      seen.push(scope.signal.reason === scope.reason, isCancelled(error), error.cause === scope.reason)
      throw error
    })
    expect(seen).toEqual([true, true, true])
  })

  test('R-004 fetch and fs take its signal, and their rejections end in it', async () => {
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    try {
      const outcome = await moveOnAfter(50, async (scope) => {
        await fetch(`http://127.0.0.1:${port}/`, { signal: scope.signal })
      })
      expect(outcome.timedOut).toBe(true)
      expect(
        await runScope({}, async (scope) => {
          scope.cancel()
          await readFile(root, { signal: scope.signal })
        }),
      ).toBe(undefined)
    } finally {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  test('takes in its own cancellation only', async () => {
    const outer = new CancelledError('outer', { source: 'explicit' })
    const error = await failure(
      runScope({ name: 'outer' }, async (scope) => {
        const inner = await runScope({ name: 'inner' }, async () => {
          scope.cancel(outer)
          await sleep(1000)
        }).catch((reason: unknown) => reason)
        expect(inner).toBe(outer)
        throw new Error('something else')
      }),
    )
    expect(error.message).toBe('something else')
  })

  test('a deadline passes, can be moved, and may lie in the past', async () => {
    expect(await moveOnAfter(5, () => sleep(60_000))).toEqual({ timedOut: true })
    expect(await moveOnAfter(60_000, async () => 'value')).toEqual({ timedOut: false, value: 'value' })
    const reached = await runScope({}, async (scope) => {
      scope.deadline = performance.now() - 1
      await sleep(60_000)
      return 'never'
    })
    expect(reached).toBe(undefined)
    const moved = await runScope({ limitMs: 5 }, async (scope) => {
      scope.deadline = Number.POSITIVE_INFINITY
      await sleep(30)
      return 'in time'
    })
    expect(moved).toBe('in time')
    const error = await failure(failAfter(5, () => sleep(60_000), { what: 'a nap' }))
    expect(error).toMatchObject({
      code: 'HARROW_TIMEOUT',
      what: 'a nap',
      limitMs: 5,
      cause: expect.any(DeadlineExceeded),
    })
  })

  test('an AbortSignal cancels it, and its reason leaves', async () => {
    const reason = new Error('mine')
    const controller = new AbortController()
    setImmediate(() => controller.abort(reason))
    expect(await failure(withSignal(controller.signal, () => sleep(60_000)))).toBe(reason)
    expect(await failure(withSignal(AbortSignal.abort(reason), async () => 'never'))).toBe(reason)
  })

  test('a limit or a signal that is none is refused before there is a scope', async () => {
    const { signal } = new AbortController()
    await runScope({}, async (scope) => {
      for (const limitMs of [-1, Number.NaN, '5' as never]) {
        expect(await failure(runScope({ limitMs, signal }, async () => {}))).toMatchObject({ code: 'HARROW_USAGE' })
      }
      for (const wrong of [null, {}, 'abort'] as never[]) {
        expect(await failure(runScope({ signal: wrong }, async () => {}))).toMatchObject({ code: 'HARROW_USAGE' })
        expect(await failure(withSignal(wrong, async () => {}))).toMatchObject({ code: 'HARROW_USAGE' })
      }
      expect(scope.firstChild).toBe(undefined)
    })
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('callbacks run once, at once when it is cancelled already, and one that throws stops no other', async () => {
    const seen: string[] = []
    const thrown: unknown[] = []
    const catchIt = (error: unknown): void => void thrown.push(error)
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', catchIt)
    try {
      await runScope({}, async (scope) => {
        scope.onCancel(() => {
          throw new Error('from a callback')
        })
        scope.onCancel(() => seen.push('second'))
        scope.onCancel(() => seen.push('never'))()
        scope.cancel()
        scope.onCancel(() => seen.push('late'))
      })
      await eventually('the error is told', () => thrown.length === 1)
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of before) process.on('uncaughtException', listener)
    }
    expect(seen).toEqual(['second', 'late'])
  })
})

describe('a nursery', () => {
  test('R-001 waits for its tasks, and gives what its body returns', async () => {
    const seen: string[] = []
    const value = await openTaskNursery(async (nursery) => {
      nursery.spawn(async () => {
        await sleep(10)
        seen.push('task')
      })
      seen.push('body')
      return 7
    })
    expect([value, ...seen]).toEqual([7, 'body', 'task'])
  })

  test('R-001 one failure cancels the others and leaves bare, with its cause told', async () => {
    const reasons: unknown[] = []
    const thrown = new RangeError('first')
    const error = await failure(
      openTaskNursery(async (nursery) => {
        nursery.spawn(async () => {
          try {
            await sleep(60_000)
          } finally {
            reasons.push(currentScope().reason)
          }
        })
        nursery.spawn(
          async () => {
            await sleep(5)
            throw thrown
          },
          { name: 'bad' },
        )
        await sleep(60_000)
      }),
    )
    expect(error).toBe(thrown)
    expect(reasons[0]).toMatchObject({ source: 'sibling', by: 'bad', cause: thrown })
  })

  test.each([
    ['no prototype', () => Object.create(null) as unknown],
    ['a message that is no text', () => Object.assign(new Error(), { message: { code: 1 } })],
    ['a message without a text', () => Object.assign(new Error(), { message: Object.create(null) as unknown })],
    ['getters that throw', () => Object.defineProperty(new Error(), 'message', { get: () => never() })],
    ['traps that throw', () => new Proxy(new Error(), { get: () => never(), getPrototypeOf: () => never() })],
    ['a symbol', () => Symbol('odd')],
  ])('R-001 ends also when something with %s is thrown', async (_, make) => {
    const odd = make()
    let others: string | undefined
    const error = await openTaskNursery(async (nursery) => {
      nursery.spawn(async () => {
        throw odd
      })
      await sleep(60_000).catch((reason: CancelledError) => {
        others = reason.source
        throw odd
      })
    }).catch((thrown: unknown) => thrown)
    expect(others).toBe('sibling')
    expect(error).toBeInstanceOf(TaskGroupError)
    expect((error as TaskGroupError).errors.map((one) => one === odd)).toEqual([true, true])
    expect((error as TaskGroupError).message).toMatch(/^2 tasks failed: /)
  })

  test('R-001 ends, and fails, when its onError throws', async () => {
    const broken = new Error('onError is broken')
    const told: string[] = []
    const error = await failure(
      openTaskNursery(
        {
          supervise: 'none',
          onError(_, task) {
            told.push(task.name)
            throw broken
          },
        },
        async (nursery) => {
          nursery.spawn(() => Promise.reject(new Error('first')), { name: 'one' })
          await sleep(60_000)
        },
      ),
    )
    expect(error).toBe(broken)
    expect(told).toEqual(['one'])
  })

  test('R-310 several failures are a group, in order, without the cancellations that they caused', async () => {
    const error = await failure(
      openTaskNursery(async (nursery) => {
        for (const name of ['a', 'b', 'c']) {
          nursery.spawn(async () => {
            throw new Error(name)
          })
        }
        nursery.spawn(() => sleep(60_000))
      }),
    )
    expect(error).toBeInstanceOf(TaskGroupError)
    expect((error as never as AggregateError).errors.map(({ message }) => message)).toEqual(['a', 'b', 'c'])
  })

  test.each([[undefined], [null], [0], ['text']])('a task that throws %s has failed', async (thrown) => {
    const nothing = Symbol('nothing')
    const caught = await openTaskNursery(async (nursery) => {
      nursery.spawn(async () => {
        throw thrown
      })
    }).then(
      () => nothing,
      (error: unknown) => error,
    )
    expect(caught).toBe(thrown)
  })

  test('R-311 a group of one is its member, at any depth', async () => {
    const inner = new Error('alone')
    const error = await failure(
      openTaskNursery(async (outer) => {
        outer.spawn(async () => {
          throw new TaskGroupError([new TaskGroupError([inner])])
        })
      }),
    )
    expect(error).toBe(inner)
  })

  test('R-312 a tree of groups is cancelled when every leaf is', () => {
    const cancel = new CancelledError('c', { source: 'explicit' })
    const mixed = new AggregateError([cancel, new AggregateError([new Error('x')])])
    const members = [...mixed.errors]
    expect(isMultiCancelled(mixed)).toBe(false)
    expect(isMultiCancelled(new AggregateError([cancel, new AggregateError([cancel])]))).toBe(true)
    expect(isMultiCancelled(cancel)).toBe(true)
    expect(isMultiCancelled(new AggregateError([]))).toBe(false)
    expect(mixed.errors).toEqual(members)
  })

  test('R-003 R-226 a task that reacts to nothing is given up and named', async () => {
    const told: string[] = []
    const forget = onUncooperative(({ name }) => told.push(name))
    try {
      await openTaskNursery({ graceMs: 50 }, async (nursery) => {
        nursery.spawn(() => new Promise(() => {}), { name: 'stuck' })
        nursery.cancel('enough')
      })
    } finally {
      forget()
    }
    expect(told).toEqual(['stuck'])
    expect(uncooperativeTasks().at(-1)).toMatchObject({
      name: 'stuck',
      startedAtStack: expect.stringContaining('scope.test.ts'),
    })
  })

  test('R-003 the time in a shield or a nursery inside does not count against a task', async () => {
    const seen: string[] = []
    await openTaskNursery({ graceMs: 30 }, async (nursery) => {
      nursery.spawn(async () => {
        try {
          await sleep(60_000)
        } finally {
          await shield(5000, 'a slow goodbye', async () => {
            await sleep(150)
            seen.push('said')
          })
        }
      })
      await sleep(5)
      nursery.cancel()
      expect(nursery.uncooperative).toEqual([])
    })
    expect(seen).toEqual(['said'])
  })

  test('a spawn after the end is refused, and one into a cancelled nursery does not begin', async () => {
    let kept: Parameters<Parameters<typeof openTaskNursery>[1]>[0] | undefined
    let began = false
    await openTaskNursery(async (nursery) => {
      kept = nursery
      nursery.cancel()
      const task = nursery.spawn(async () => {
        began = true
      })
      expect(isCancelled(await failure(task.result))).toBe(true)
    })
    expect(began).toBe(false)
    expect(() => kept?.spawn(async () => {})).toThrow(/has ended/)
  })

  test('many tasks are released when they are over', async () => {
    await openTaskNursery(async (nursery) => {
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 2000; i++) nursery.spawn(async () => i)
        await nursery.idle
        await eventually('only the body is left', () => nursery.tasks.length === 1)
      }
    })
  })
})

describe('a number that is none', () => {
  const wrong = [Number.NaN, -1, '5', null, 5n, {}]
  const endless = [...wrong, Number.POSITIVE_INFINITY]
  const body = async (): Promise<void> => {}
  const takers: [string, (ms: never) => unknown, unknown[]][] = [
    ['sleep()', sleep, endless],
    ['failAfter()', (ms) => failAfter(ms, body), endless],
    ['moveOnAfter()', (ms) => moveOnAfter(ms, body), endless],
    ['runScope({ limitMs })', (limitMs) => runScope({ limitMs }, body), endless],
    ['shield()', (ms) => shield(ms, 'it', body), endless],
    ['openTaskNursery({ graceMs })', (graceMs) => openTaskNursery({ graceMs }, body), endless],
    ['openTaskNursery({ supervise })', (supervise) => openTaskNursery({ supervise }, body), [5, 'some']],
    [
      'scopeLimits.taskGrace',
      async (ms) => {
        scopeLimits.taskGrace = ms
      },
      endless,
    ],
    [
      'scope.deadline',
      (at) =>
        runScope({}, async (scope) => {
          scope.deadline = at
        }),
      [Number.NaN, '5', null, 5n],
    ],
  ]
  test.each(takers)('R-008 of %s is refused with what was expected and what came', async (name, take, values) => {
    const grace = scopeLimits.taskGrace
    for (const value of values) {
      const error = await failure((async () => await take(value as never))())
      expect(error).toMatchObject({ code: 'HARROW_USAGE' })
      expect(error.message).toContain(`${name} expects `)
      if (typeof value === 'string') expect(error.message).toContain(`got "${value}" (a string).`)
      else if (typeof value !== 'object') expect(error.message).toMatch(new RegExp(`got ${String(value)}n?\\.`))
    }
    expect(scopeLimits.taskGrace).toBe(grace)
  })

  test('R-008 an option that there is not is refused as well', async () => {
    const error = await failure(openTaskNursery({ grace: 5 } as never, body))
    expect(error.message).toBe(
      'openTaskNursery() has no option "grace". Valid options: name, supervise, onError, graceMs, group.',
    )
  })
})

describe('a shield', () => {
  test('R-008 R-808 needs a bound, and ends with it', async () => {
    for (const bound of [undefined, Number.POSITIVE_INFINITY, Number.NaN, -1]) {
      expect(await failure(shield(bound as number, 'x', async () => {}))).toMatchObject({ code: 'HARROW_USAGE' })
    }
    const error = await failure(
      runScope({}, async (scope) => {
        scope.cancel()
        await shield(20, 'a hook', () => new Promise(() => {}))
      }),
    )
    expect(error).toMatchObject({ code: 'HARROW_TIMEOUT', what: 'a hook' })
  })

  test('R-008 no shield of ours is without one', () => {
    const calls = ['src', 'harness'].flatMap((folder) =>
      filesBelow(root, folder, '.ts').flatMap((file) =>
        [...read(root, file).matchAll(/await shield\(([^,\n]*),/g)].map(([, bound]) => ({ file, bound })),
      ),
    )
    expect(calls.length).toBeGreaterThan(2)
    expect(calls.filter(({ bound }) => /Infinity|undefined/.test(bound ?? ''))).toEqual([])
  })

  test('R-268 a cleanup takes no error’s place', async () => {
    const error = await failure(
      runScope({}, (scope) =>
        withCleanup(
          1000,
          async () => {
            throw new TypeError('first')
          },
          async () => {
            scope.cancel()
            await sleep(5)
            throw new Error('in the cleanup')
          },
        ),
      ),
    )
    expect(error.message).toBe('first')
  })
})

describe('the task tree', () => {
  test('tells what each task waits for, since when, and where it was spawned', async () => {
    await openTaskNursery({ name: 'seen' }, async (nursery) => {
      nursery.spawn(() => sleep(60_000), { name: 'sleeper' })
      const nodes = taskTree('t').flatMap((node) => [node, ...node.children])
      const sleeper = nodes.find(({ name }) => name === 'sleeper')
      expect(sleeper).toMatchObject({ kind: 'task', state: 'parked', wait: { reason: 'timer', on: '60000 ms' } })
      expect(sleeper?.created?.path).toMatch(/scope\.test\.ts$/)
      expect(nodes.find(({ name }) => name === 'seen')).toMatchObject({ kind: 'nursery' })
      expect(currentTask()?.name).toBe('body')
      nursery.cancel()
    })
    expect(taskTree().some(({ name }) => name === 'seen')).toBe(false)
    expect(WAIT_REASONS).toContain('call reply')
  })
})

function never(): never {
  throw new Error('nobody may look')
}
