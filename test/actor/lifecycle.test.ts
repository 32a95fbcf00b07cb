import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  type ActorNursery,
  currentActor,
  getRoot,
  getRuntimeVars,
  isCancelled,
  moveOnAfter,
  NoResult,
  openNursery,
  openRoot,
  type Portal,
  runScope,
  setRuntimeVars,
  sleep,
  waitForActor,
} from '../../src/index.ts'
import { childrenOf, threadsOf } from '../../src/process/procfs.ts'
import { findMembers } from '../../src/reap/members.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import * as tally from '../fixtures/actors/tally.ts'
import { count, napping } from '../fixtures/actors/tally.ts'
import {
  BACKENDS,
  eventually,
  failure,
  inFolder,
  moduleOf,
  NEST,
  PATIENT,
  PROCESS_BACKENDS,
  RUDE,
  TALLY,
  tree,
} from './world.ts'

describe('a root', () => {
  test('R-101 is the only one in a process', async () => {
    await tree('spawn', async () => {
      const error = await failure(openRoot(async () => {}))
      expect(error).toMatchObject({ name: 'RuntimeFailure', code: 'HARROW_RUNTIME' })
      expect(error.message).toContain('actor root@')
    })
  })

  test('R-102 is opened by the first nursery, and closed with it', async () => {
    await inFolder(async (folder) => {
      const root = { registryAddrs: [`unix:${folder}/r.sock`] }
      await openNursery({ root }, async (an) => {
        expect(an.implicitRuntimeStarted).toBe(true)
        expect(currentActor().aid.name).toBe('root')
        await openNursery(async (inner) => expect(inner.implicitRuntimeStarted).toBe(false))
      })
    })
    expect(() => currentActor()).toThrow(/no actor runtime here any more: actor root@/)
  })

  test('R-103 a root without a name is called by what it became', async () => {
    await tree('spawn', async (root) => expect(root.aid.name).toBe('registrar'), { name: null })
  })

  test('R-008 numbers that are none are refused with what was expected and what came', async () => {
    const wrong = [Number.NaN, -1, '5', null, Number.POSITIVE_INFINITY]
    for (const cancelAck of [...wrong, 2 ** 31]) {
      const { message } = await failure(openRoot({ deadlines: { cancelAck } as never }, async () => {}))
      expect(message).toContain('deadline "cancelAck" expects milliseconds from 0 to 2147483647, got ')
    }
    for (const deadlines of ['5', null, { toString: 5 }])
      expect(await failure(openRoot({ deadlines } as never, async () => {}))).toMatchObject({ code: 'HARROW_USAGE' })
    await tree('thread', async () => {
      const self = await waitForActor<typeof tally>('root')
      for (const value of wrong) {
        const cancelling = await failure(self.cancelActor({ timeoutMs: value as never }))
        expect(cancelling.message).toContain('cancelActor({ timeoutMs }) expects milliseconds')
        const opening = await failure(self.openContext('producer', [1], async () => {}, { buffer: value as never }))
        expect(opening.message).toContain('the option "buffer" of producer expects a whole number from 1 up, got ')
      }
      for (const limits of [{ maxOldGenerationSizeMb: '9' }, { stackSizeMb: Number.NaN }, { heap: 5 }]) {
        const starting = openNursery((an) => an.startActor('no', { spawnOpts: { resourceLimits: limits } }))
        expect((await failure(starting)).message).toMatch(
          /option "resourceLimits" of backend thread expects .*maxOldGenerationSizeMb.*, got \{"\w+":("9"|"NaN"|5)\}/,
        )
      }
    })
  })

  test('R-106 a registry address of a transport that is not enabled fails at once', async () => {
    const error = await failure(
      openRoot({ enableTransports: ['uds'], registryAddrs: ['tcp:127.0.0.1:4000'] }, async () => {}),
    )
    expect(error.message).toContain('tcp:127.0.0.1:4000')
    expect(error.message).toContain('enabled: uds')
    const two = await failure(openRoot({ enableTransports: ['uds', 'tcp'] }, async () => {}))
    expect(two).toMatchObject({ code: 'HARROW_USAGE' })
  })

  test('R-107 there is no current actor without one', async () => {
    expect(() => currentActor()).toThrow(expect.objectContaining({ name: 'NoRuntime', code: 'HARROW_NO_RUNTIME' }))
    const { findActor } = await import('../../src/index.ts')
    expect(await failure(findActor('anybody'))).toMatchObject({ name: 'NoRuntime' })
  })

  test('R-108 leaves nothing behind, and another can follow', async () => {
    const defaults = getRuntimeVars({ clear: true })
    for (let i = 0; i < 2; i++) {
      await tree('spawn', async () => {
        expect(getRuntimeVars().isRoot).toBe(true)
        expect(getRuntimeVars().rootAddrs).not.toEqual([])
      })
      expect(getRuntimeVars()).toEqual(defaults)
    }
  })

  test('R-109 throws what its body threw, after its end', async () => {
    const thrown = new Error('from the body')
    let actor: ReturnType<typeof currentActor> | undefined
    const error = await failure(
      tree('spawn', async (root) => {
        actor = root
        throw thrown
      }),
    )
    expect(error).toBe(thrown)
    expect(actor?.isCancelled).toBe(true)
  })

  test('R-110 its variables are read by copy and replaced in place', () => {
    const copy = getRuntimeVars()
    copy.registryAddrs.push('changed')
    expect(getRuntimeVars().registryAddrs).toEqual([])
    setRuntimeVars({ debugMode: true })
    expect(getRuntimeVars().debugMode).toBe(true)
    expect(getRuntimeVars({ clear: true }).debugMode).toBe(false)
    setRuntimeVars({})
    expect(getRuntimeVars()).toEqual(getRuntimeVars({ clear: true }))
  })
})

describe.each(BACKENDS)('R-611 an actor of %s', (backend) => {
  test('R-120 R-130 serves calls, and knows its parent and its root', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof tally & typeof Nest>('tally', { module: TALLY, modules: [NEST] })
        expect(await portal.call('add', 2)).toBe(2)
        expect(await portal.call('add', 3)).toBe(5)
        const told = await portal.in<typeof Nest>(NEST).call('addresses')
        expect(told).toMatchObject({ parent: root.aid.uuid, root: root.aid.uuid, self: portal.aid.uuid, vars: false })
        expect(told.tree).toBe(root.aid.uuid)
        expect((await getRoot()).aid.uuid).toBe(root.aid.uuid)
        await portal.cancelActor()
      })
    })
  })

  test('R-101 a second root in a child is refused, and the error comes back boxed', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('nest', { module: NEST })
        const error = await failure(portal.call('secondRoot'))
        expect(error).toMatchObject({ name: 'RemoteActorError', boxedTypeName: 'RuntimeFailure' })
        await portal.cancelActor()
      })
    })
  })

  test('R-111 R-606 a child gets a copy of the variables, and a grandchild the same backend', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('nest', { module: NEST, debugMode: true, logLevel: 'critical' })
        expect(await portal.call('addresses')).toMatchObject({ vars: false, debug: true })
        expect(root.vars).toMatchObject({ debugMode: false, isRoot: true })
        expect(await portal.call('backendBelow')).toBe(backend)
        await portal.cancelActor()
      })
    })
  })

  test('R-121 R-141 calls that come before it is through with its boot wait for it', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<{ ready(): Promise<string> }>('slow', { module: moduleOf('slow-module') })
        expect(await portal.call('ready')).toBe('loaded')
        await portal.cancelActor()
      })
    })
  })

  test('R-122 R-124 runs once, and its result is there after the nursery', async () => {
    await tree(backend, async () => {
      const [value, none, daemon] = await openNursery(async (an) => [
        await an.runInActor(tally.echo, { args: ['beautiful'] }),
        await an.runInActor(tally.echo, { name: 'null', args: [null] }),
        await an.startActor('daemon', { module: TALLY }).then(async (portal) => {
          await portal.cancelActor()
          return portal
        }),
      ])
      expect(value?.aid.name).toBe('echo')
      expect(await value?.waitForResult()).toBe('beautiful')
      expect(await none?.waitForResult()).toBe(null)
      expect(await daemon?.waitForResult()).toBe(NoResult)
    })
  })

  test('R-123 what is no exported async function is refused before anything is spawned', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const before = childrenOf(process.pid)
        for (const fn of [count, tally.plainSum, 'text', async () => {}]) {
          expect(await failure(an.runInActor(fn as never))).toBeInstanceOf(TypeError)
        }
        expect(an.size).toBe(0)
        expect(childrenOf(process.pid)).toEqual(before)
      })
    })
  })

  test('R-013 a function is known by its module and name', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof tally>('tally', { module: TALLY })
        expect(await portal.run(napping, 1)).toBe('awake')
        await portal.cancelActor()
      })
    })
  })

  test('R-125 a nursery waits for its daemons until somebody cancels them', async () => {
    await tree(backend, async () => {
      let over = false
      const started = Promise.withResolvers<Portal<typeof tally>>()
      const nursery = openNursery(async (an) => {
        started.resolve(await an.startActor<typeof tally>('daemon', { module: TALLY }))
      }).then(() => {
        over = true
      })
      const daemon = await started.promise
      // Its nursery has had every chance to end meanwhile.
      for (let n = 0; n < 3; n++) expect(await daemon.call('echo', n)).toBe(n)
      expect(over).toBe(false)
      await daemon.cancelActor()
      await nursery
      expect(over).toBe(true)
    })
  })

  test('R-126 the body sees the error of a call before the nursery does', async () => {
    await tree(backend, async () => {
      const seen: string[] = []
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.runInActor(tally.fail, { args: ['first'] })
          const own = await failure(portal.waitForResult())
          seen.push((own as { boxedTypeName?: string }).boxedTypeName ?? '')
        }),
      )
      expect(seen).toEqual(['TypeError'])
      expect(error).toMatchObject({ name: 'RemoteActorError', boxedTypeName: 'TypeError' })
    })
  })

  describe('R-127 one fails, all are cancelled', () => {
    for (const failing of [1, 2, 3]) {
      test(`${failing} run-once actors fail beside a daemon`, async () => {
        await tree(backend, async () => {
          let daemon: Portal<typeof tally> | undefined
          const error = await failure(
            openNursery(async (an) => {
              daemon = await startDaemon(an)
              for (let i = 0; i < failing; i++) await an.runInActor(tally.fail, { name: `f${i}`, args: [`no ${i}`] })
            }),
          )
          const leaves = error instanceof AggregateError ? error.errors : [error]
          expect(leaves.every((one) => one.boxedTypeName === 'TypeError')).toBe(true)
          expect(leaves.length).toBeLessThanOrEqual(failing)
          expect(daemon?.connected).toBe(false)
        })
      })
    }

    test('a call of a daemon fails in the body while others sleep', async () => {
      await tree(backend, async () => {
        const error = await failure(
          openNursery(async (an) => {
            await an.runInActor(napping, { args: [60_000] })
            const portal = await startDaemon(an)
            await portal.call('fail', 'in the body')
          }),
        )
        expect(error).toMatchObject({ name: 'RemoteActorError', remoteMessage: 'in the body' })
      })
    })
  })

  test.each(['cancelled', 'with a root that fails', 'with leaves that fail'])(
    'R-128 R-131 R-809 R-220 R-641 nothing of a tree of depth 3 is left, %s',
    async (how) => {
      await tree(backend, async (root) => {
        const grown = (top: string): Promise<unknown> =>
          openNursery(async (an) => {
            const portal = await an.startActor<typeof Nest>(top, { module: NEST })
            if (how === 'with leaves that fail') await portal.call('failingTree', 2, 2)
            await portal.openContext('waitingTree', [2, 2], async (ctx, all) => {
              const others = all.filter((pid) => pid !== process.pid)
              if (PROCESS_BACKENDS.includes(backend)) expect(new Set(others).size).toBe(7)
              if (how === 'with a root that fails') throw new Error('the root fails')
              await ctx.cancel()
            })
            await an.cancel()
            expect(an.size).toBe(0)
          })
        // What threads a process needs for itself is there after the first one.
        await openNursery(async (an) => void (await startDaemon(an).then((portal) => portal.cancelActor())))
        const before = threadsOf(process.pid).length
        const error = how === 'cancelled' ? await grown('top') : await failure(grown('top'))
        const { members } = findMembers({ tag: { name: 'HARROW_TREE', value: root.aid.uuid } })
        // A zygote and the child that it has forked ahead stay for as long as its root.
        const left = members.filter(({ command }) => !command.startsWith('harrow zygote'))
        expect(left.map(({ pid, command }) => `${pid} ${command}`)).toEqual([])
        await eventually('as many threads as before', () => threadsOf(process.pid).length <= before)
        if (how === 'with a root that fails') expect(error).toMatchObject({ message: 'the root fails' })
        if (how === 'with leaves that fail') expect(error).toMatchObject({ name: 'RemoteActorError' })
      })
    },
    60_000,
  )

  test('R-208 R-128 a deadline that passes at any step of its start waits for the end of the tree', async () => {
    for (const limitMs of [0, 30, 90, 200, 400]) {
      const outcome = await moveOnAfter(limitMs, () =>
        tree(backend, async () => {
          await openNursery(async (an) => {
            for (let i = 0; i < 2; i++) await an.startActor<typeof tally>(`late${i}`, { module: TALLY })
            await sleep(600_000)
          })
        }),
      )
      expect(outcome.timedOut).toBe(true)
      expect(() => currentActor()).toThrow(/no actor runtime here/)
    }
  })

  test('R-208 R-260 a scope that is cancelled while a context is left waits for the end of the tree', async () => {
    for (const how of ['context', 'nursery', 'actor'] as const) {
      let reached = false
      const cut = runScope({ name: 'cut' }, async (scope) => {
        await tree(backend, async () => {
          await openNursery(async (an) => {
            const portal = await an.startActor<typeof Rude>('busy', { module: RUDE })
            await portal.openContext('stubborn', [], async () => {
              // It answers nothing for longer than an uncooperative task is waited for.
              void portal.call('spin', 1500).catch(() => {})
              // What is sent now is read behind the order to spin.
              setImmediate(() => scope.cancel('cut'))
              reached = true
              if (how === 'nursery') await an.cancel()
              else if (how === 'actor') await portal.cancelActor({ timeoutMs: 2000 })
              await sleep(600_000)
            })
          })
        })
      })
      const error = await cut.catch((thrown: unknown) => thrown)
      // Ended under its own open context, the actor takes that with it.
      if (how === 'context') expect(error).toBeUndefined()
      else if (!isCancelled(error)) expect([undefined, 'TransportClosed']).toContain((error as Error | undefined)?.name)
      expect(reached).toBe(true)
      expect(() => currentActor()).toThrow(/no actor runtime here/)
    }
  })

  test('R-129 tells whether all have acknowledged', async () => {
    const body = () =>
      openNursery(async (an) => {
        await startDaemon(an)
        expect([an.cancelCalled, an.cancelledCaught]).toEqual([false, false])
        await an.cancel()
        expect([an.cancelCalled, an.cancelledCaught]).toEqual([true, true])
      })
    await tree(backend, body, PATIENT)
  })

  test('R-134 a hard cancel does not ask', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        void portal.call('shieldedFor', 5000).catch(() => {})
        await portal.call('facts')
        const [child] = [...an.children.values()]
        await an.cancel({ hardKill: true })
        expect(an.size).toBe(0)
        expect(child?.peer?.cancelCalled).toBe(false)
        if (PROCESS_BACKENDS.includes(backend)) expect(child?.exit).toMatchObject({ signal: 'SIGKILL' })
        expect(portal.connected).toBe(false)
      })
    })
  })

  test('R-140 two actors of one name are two', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const [a, b] = [await startDaemon(an), await startDaemon(an)]
        expect(a.aid.name).toBe(b.aid.name)
        expect(a.aid.uuid).not.toBe(b.aid.uuid)
        await an.cancel()
      })
    })
  })

  test('R-145 R-321 a module that fails to load is told, poisons the link and ends the actor', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor('broken', { module: moduleOf('throws-at-import') })
          await sleep(60_000)
          void portal
        }),
      )
      expect(error).toMatchObject({
        name: 'RemoteActorError',
        boxedTypeName: 'RangeError',
        remoteMessage: 'thrown at import',
      })
    })
  })

  test.each([
    ['is missing', undefined, 'Error'],
    ['has a syntax error', 'export const = 1', 'SyntaxError'],
  ])(
    'R-145 R-626 a call on a link poisoned by a module that %s throws the error of the link',
    async (_, text, type) => {
      await inFolder(async (folder) => {
        if (text !== undefined) writeFileSync(`${folder}/broken.mjs`, text)
        await tree(backend, async () => {
          const seen: unknown[] = []
          const left = await failure(
            openNursery(async (an) => {
              const module = pathToFileURL(`${folder}/broken.mjs`)
              const portal = await an.startActor<typeof tally>('broken', { module })
              for (let i = 0; i < 2; i++) seen.push(await failure(portal.call('add', 1)))
            }),
          )
          expect(seen[0]).toMatchObject({ name: 'RemoteActorError', boxedTypeName: type })
          expect(seen[1]).toBe(seen[0])
          expect(left).toBe(seen[0])
        })
      })
    },
  )

  test('R-148 R-149 is labelled with its backend and its name', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof tally>('tally', { module: TALLY })
        const { text, backend: told, pid } = await portal.call('whoAmI')
        expect(told).toBe(backend)
        expect(text).toContain(`(${backend}, pid ${pid})`)
        if (PROCESS_BACKENDS.includes(backend)) {
          expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toContain(`harrow[tally@${pid}]`)
          expect(readFileSync(`/proc/${pid}/comm`, 'latin1')).toMatch(/^harrow\[tally@/)
        }
        await portal.cancelActor()
      })
    })
  })

  const ends = ['cancelled', 'returned', 'errored', 'cancelled itself', 'was interrupted', 'was killed']
  test.each(ends)('R-150 R-252 R-253 runs its lifetime callbacks when it %s, unless by SIGKILL', async (how) => {
    if (how === 'was interrupted' && !PROCESS_BACKENDS.includes(backend)) return
    await inFolder(async (folder) => {
      const file = `${folder}/noted`
      await tree(backend, async () => {
        const nursery = openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE, childSigint: 'runtime' })
          await portal.call('noteAtEnd', file)
          const [child] = [...an.children.values()]
          if (how === 'cancelled') await portal.cancelActor()
          if (how === 'errored') throw new Error('the body fails')
          if (how === 'returned') await an.cancel()
          if (how === 'cancelled itself') await failure(portal.call('cancelYourself'))
          if (how === 'was killed') await an.cancel({ hardKill: true })
          if (how === 'was interrupted') {
            process.kill((await portal.call('facts')).pid, 'SIGINT')
            expect(await child?.handle?.wait()).toMatchObject({ code: 0, signal: null })
          }
        })
        if (how === 'errored') expect((await failure(nursery)).message).toBe('the body fails')
        else await nursery
      })
      // The tree has ended, and so has all that its actors wrote.
      const noted = existsSync(file) ? readFileSync(file, 'utf8') : ''
      expect(noted).toBe(how === 'was killed' ? '' : 'last pushed\nfirst pushed\n')
    })
  })

  test('R-151 a module or a name that is not offered is refused, and nobody is harmed', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof tally>('tally', { module: TALLY })
        const hidden = portal.in<{ x(): Promise<void> }>('file:///nowhere.ts')
        expect(await failure(hidden.call('x'))).toMatchObject({ boxedTypeName: 'ModuleNotExposed' })
        const error = await failure((portal as never as { call(name: string): Promise<void> }).call('nothing'))
        expect(error).toMatchObject({ boxedTypeName: 'TypeError' })
        expect(error.message).toContain('nothing is not a function')
        expect(await portal.call('plainSum', 2, 3)).toBe(5)
        await portal.cancelActor()
      })
    })
  })

  test('R-152 of the runtime only what is on the list can be called', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof tally>('tally', { module: TALLY })
        const self = portal.in<Record<string, () => Promise<unknown>>>('self')
        expect(await self.call('ping')).toBe('pong')
        for (const name of ['constructor', 'cancel', '__proto__', 'toString', 'modules']) {
          expect(await failure(self.call(name))).toMatchObject({ boxedTypeName: 'TypeError' })
        }
        await portal.cancelActor()
      })
    })
  })

  test('R-155 an actor that cancels itself ends in order', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const error = await failure(portal.call('cancelYourself'))
        expect(error).toMatchObject({ name: 'ContextCancelled', canceller: ['rude', portal.aid.uuid] })
      })
    })
  })

  test('R-831 an interval that was left open does not keep an actor', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        await portal.call('leakInterval')
        await portal.cancelActor()
      })
    })
  })
})

function startDaemon(an: ActorNursery): Promise<Portal<typeof tally>> {
  return an.startActor<typeof tally>('daemon', { module: TALLY })
}
