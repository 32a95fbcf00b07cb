import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { findActor, getRegistry, openNursery, openTaskNursery, waitForActor } from '../../src/index.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import { BACKENDS, eventually, failure, inFolder, NEST, PROCESS_BACKENDS, TALLY, tree } from './world.ts'

describe('a registrar', () => {
  test('R-104 R-502 a root that nobody answers is the registrar, and finds itself', async () => {
    await tree('spawn', async (root) => {
      expect(root.registry).toBeDefined()
      const portal = await waitForActor('root')
      expect(portal.aid.uuid).toBe(root.aid.uuid)
      const registry = await getRegistry()
      expect(registry?.aid.uuid).toBe(root.aid.uuid)
    })
  })

  test('R-104 R-105 R-515 roots that race for an address: one is the registrar, the others join', async () => {
    await inFolder(async (folder) => {
      const program = new URL('../fixtures/actors/programs/one-root.ts', import.meta.url).pathname
      const address = `unix:${folder}/race.sock`
      // All stay until each has said what it became: one that starts late must find the others.
      const roots = Array.from({ length: 4 }, () => start(program, [address, '60000']))
      const roles: (string | undefined)[] = []
      try {
        await eventually('all have a role', () => roots.every(({ out }) => out.includes('role=')), 50_000)
        roles.push(...roots.map(({ out }) => /role=(\w+)/.exec(out)?.[1]).sort())
      } finally {
        await Promise.all(roots.map(({ end }) => end()))
      }
      expect(roles).toEqual(['joined', 'joined', 'joined', 'registrar'])
    })
  })

  test('R-514 R-513 something else at its address is refused by name', async () => {
    await inFolder(async (folder) => {
      const server = createServer((socket) => socket.resume().end('HTTP/1.1 400 no\r\n\r\n'))
      await new Promise<void>((resolve) => server.listen(`${folder}/other.sock`, resolve))
      try {
        const error = await failure(tree('spawn', async () => {}, { registryAddrs: [`unix:${folder}/other.sock`] }))
        expect(error).toMatchObject({ name: 'RuntimeFailure' })
        expect(error.message).toContain('other.sock')
      } finally {
        await new Promise((resolve) => server.close(resolve))
      }
    })
  })
})

describe.each(BACKENDS)('finding actors of %s', (backend) => {
  test('R-501 R-504 R-507 R-508 by the name that registered last', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        expect(await findActor('doggy')).toBe(null)
        await an.startActor('doggy', { module: TALLY })
        const second = await an.startActor<typeof Tally>('doggy', { module: TALLY })
        await eventually('both are registered', () => root.registry?.list().length === 3)
        const found = await findActor<typeof Tally>('doggy')
        expect(found?.aid.uuid).toBe(second.aid.uuid)
        expect(await found?.call('echo', 'wuff')).toBe('wuff')
        expect(await findActor(second.aid.uuid)).toBe(null)
        const error = await failure(findActor('cat', { raiseOnNone: true }))
        expect(error.message).toContain('r.sock')
        await an.cancel()
      })
    })
  })

  test('R-505 who waits for a name is woken by its registration', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        await openTaskNursery(async (nursery) => {
          const waiting = [1, 2].map(() => nursery.spawn(() => waitForActor('late')))
          await eventually('they wait', () => waiting.every((task) => task.wait))
          const portal = await an.startActor('late', { module: TALLY })
          for (const task of waiting) expect((await task.result).aid.uuid).toBe(portal.aid.uuid)
        })
        await an.cancel()
      })
    })
  })

  test('R-510 R-511 R-512 R-204 nobody is registered after the end', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('keeper', { module: NEST })
        await portal.openContext('keeper', ['below'], async (ctx) => {
          await eventually('all are registered', () => root.registry?.list().length === 3)
          await ctx.cancel()
        })
        await an.cancel()
      })
      await eventually('only the root is left', () => root.registry?.list().length === 1)
    })
  })

  test('R-524 R-653 looking for actors leaves no descriptors', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('nest', { module: NEST })
        await an.startActor('target', { module: TALLY })
        const descriptors = (): number => readdirSync('/proc/self/fd').length
        await eventually('it is registered', async () => (await portal.call('callOther', 'target')) === 'answered')
        const before = descriptors()
        for (let i = 0; i < 30; i++) expect(await portal.call('callOther', 'target')).toBe('answered')
        await eventually('as many as before', () => descriptors() <= before)
        await an.cancel()
      })
    })
  })
})

describe.each(PROCESS_BACKENDS)('a stale entry of %s', (backend) => {
  test('R-509 is deleted when nobody answers there', async () => {
    await tree(backend, async (root) => {
      root.registry?.register({ name: 'ghost', uuid: 'ghost' }, ['unix:/nowhere/ghost.sock'])
      expect(await findActor('ghost')).toBe(null)
      expect(root.registry?.get('ghost')).toBe(undefined)
    })
  })

  test('R-104 R-516 over TCP, with a port of the system’s choice', async () => {
    await tree(
      backend,
      async (root) => {
        expect(root.vars.rootMailbox).toMatch(/^tcp:127\.0\.0\.1:[1-9]\d+$/)
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
          expect(await portal.call('echo', 'over TCP')).toBe('over TCP')
          await portal.cancelActor()
        })
      },
      { enableTransports: ['tcp'], registryAddrs: ['tcp:127.0.0.1:0'] },
    )
  })
})

interface Started {
  /** What it has printed so far. */
  out: string
  end(): Promise<void>
}

function start(program: string, args: string[]): Started {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const started: Started = {
    out: '',
    async end() {
      child.kill('SIGKILL')
      await exited
    },
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    started.out += text
  })
  return started
}
