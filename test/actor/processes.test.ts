import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { treeFile } from '../../src/actor/tree-signal.ts'
import { openNursery } from '../../src/index.ts'
import type { ProcessIdentity } from '../../src/process/identity.ts'
import { childrenOf, threadsOf } from '../../src/process/procfs.ts'
import { runtimeDir } from '../../src/process/runtime-dir.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import { type Program, withProgram } from './program.ts'
import {
  addressesOf,
  BACKENDS,
  eventually,
  failure,
  gone,
  known,
  PROCESS_BACKENDS,
  RUDE,
  TALLY,
  tree,
} from './world.ts'

/** What this process holds: descriptors, threads, children. */
const held = (): number[] => [
  readdirSync('/proc/self/fd').length,
  threadsOf(process.pid).length,
  childrenOf(process.pid).length,
]

describe.each(BACKENDS)('a program with actors of %s', (backend) => {
  test('R-113 R-250 R-801 that gets SIGINT ends with 130, and leaves nothing', async () => {
    await withProgram('idle-tree', [backend], async (program) => {
      const pid = Number(await program.mark('CHILD_PID'))
      const child = pid === program.child.pid ? undefined : known(pid)
      program.child.kill('SIGINT')
      expect(await program.exit).toEqual({ code: 130, signal: null })
      expect(program.out).toContain('Interrupted')
      if (child) await eventually('the actor is gone', () => gone(child))
    })
  })

  test('R-113 ends with 0 when all is well and with 1 on an error', async () => {
    await withProgram('one-call', [backend, 'well'], async (program) => {
      expect(await program.exit).toEqual({ code: 0, signal: null })
      expect(await program.mark('RESULT')).toBe('3')
    })
    await withProgram('one-call', [backend, 'wrong'], async (program) => {
      expect(await program.exit).toEqual({ code: 1, signal: null })
      expect(program.out).toContain('of the body')
    })
  })

  test('R-251 that gets SIGINT a second time does not wait for who does not end', async () => {
    // Its limits are longer than this test: only the second signal helps.
    await withProgram('idle-tree', [backend, 'wedged'], async (program) => {
      const pid = Number(await program.mark('CHILD_PID'))
      const child = pid === program.child.pid ? undefined : known(pid)
      program.child.kill('SIGINT')
      await program.mark('CANCELLED')
      program.child.kill('SIGINT')
      expect(await program.exit).toEqual({ code: 130, signal: null })
      if (child) await eventually('the actor is gone', () => gone(child))
    })
  })

  test('R-254 that gets SIGINT while streams run both ways ends with 130, and leaves nothing', async () => {
    await withProgram('streams', [backend], async (program) => {
      const pid = Number(await program.mark('CHILD_PID'))
      const child = pid === program.child.pid ? undefined : known(pid)
      await eventually('both streams run', () => /both streams run/.test(program.out))
      program.child.kill('SIGINT')
      expect(await program.exit).toEqual({ code: 130, signal: null })
      if (child) await eventually('the actor is gone', () => gone(child))
    })
  })

  test('R-653 that starts and ends actors again and again holds no more than before', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const once = async (): Promise<void> => {
          const portal = await an.startActor<typeof Tally>('one', { module: TALLY })
          expect(await portal.call('echo', 1)).toBe(1)
          await portal.cancelActor()
          await eventually('it is reaped', () => an.size === 0)
        }
        for (let i = 0; i < 3; i++) await once()
        const before = held()
        for (let i = 0; i < 8; i++) await once()
        await eventually(`as little as before: ${before}`, () => String(held()) === String(before))
        expect([root.peers.size, root.registry?.list().length]).toEqual([0, 1])
      })
    })
  }, 60_000)

  test('R-650 R-624 whose actors write much to their streams: it is in a file of their own', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('loud', { module: RUDE })
        expect(await portal.call('printLines', 500, 1000)).toBe('printed')
        const [name = ''] = readdirSync(root.vars.logDir as string).filter((file) => file.startsWith('loud.'))
        const path = `${root.vars.logDir}/${name}`
        await eventually('all of it is there', () => readFileSync(path, 'latin1').endsWith('the last line\n'))
        expect(statSync(path).mode & 0o777).toBe(0o600)
        await portal.cancelActor()
      })
    })
  })

  test('R-831 that awaits an idle actor does not end before it', async () => {
    await withProgram('idle-tree', [backend], async (program) => {
      await program.mark('CHILD_PID')
      expect(program.child.exitCode).toBe(null)
    })
  })
})

describe.each(PROCESS_BACKENDS)('an actor of %s whose parent is killed', (backend) => {
  const names = (): string[] => readdirSync(runtimeDir())

  async function orphan(program: Program): Promise<ProcessIdentity> {
    const child = known(Number(await program.mark('CHILD_PID')))
    program.child.kill('SIGKILL')
    await program.exit
    return child
  }

  test('R-256 ends by itself', async () => {
    await withProgram('idle-tree', [backend], async (program) => {
      const child = await orphan(program)
      await eventually('the orphan is gone', () => gone(child))
      // Elsewhere the kernel may have ended it (PDEATHSIG); what it left then goes with a sweep.
      if (backend !== 'zygote') return
      const { pid, start } = child
      await eventually('its socket is gone', () => !names().some((name) => name.endsWith(`.${pid}.${start}.sock`)))
    })
  })

  test('R-256 R-257 R-253 R-252 stays where it is told to, and ends by SIGINT', async () => {
    await withProgram('idle-tree', [backend, 'stay'], async (program) => {
      const child = await orphan(program)
      // It has seen the end of its parent, and says so in its log.
      const log = await program.mark('LOG')
      await eventually('it stays', () => existsSync(log) && readFileSync(log, 'utf8').includes('it stays'))
      expect(gone(child)).toBe(false)
      process.kill(child.pid, 'SIGINT')
      await eventually('the orphan is gone', () => gone(child))
    })
  })

  test.skipIf(backend === 'zygote' || !existsSync('/usr/bin/setpriv'))(
    'R-256 ends even when it was stopped before it did anything',
    async () => {
      await withProgram('idle-tree', [backend, 'stopped'], async (program) => {
        const child = await orphan(program)
        await eventually('the orphan is gone', () => gone(child))
      })
    },
  )

  test('R-256 ends even when it spins', async () => {
    await withProgram('idle-tree', [backend, 'spin'], async (program) => {
      const child = await orphan(program)
      await eventually('the orphan is gone', () => gone(child))
    })
  })
})

/** After a collection. */
function heapMb(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed / 2 ** 20
}

describe.each(PROCESS_BACKENDS)('a process of %s', (backend) => {
  test('R-620 R-622 R-133 R-641 R-643 has its labels, its session, and none of our flags', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const { argv, execArgv, env, pid, title, channel } = await portal.call('facts')
        expect(argv.some((word) => word === `--harrow-actor=rude@${portal.aid.uuid}`)).toBe(true)
        expect(execArgv.filter((flag) => /inspect|--test/.test(flag))).toEqual([])
        expect(env.HARROW_TREE).toBe(root.aid.uuid)
        expect(env.VITEST_WORKER_ID).toBe(undefined)
        expect(title).toBe(`harrow[rude@${pid}]`)
        // A fork inherits its link, a spawned actor dials its parent.
        const [child] = [...an.children.values()]
        expect(Boolean(child?.handle?.link)).toBe(backend === 'fork')
        expect(argv.some((word) => word.startsWith('--harrow-parent='))).toBe(backend !== 'fork')
        expect(Boolean(channel)).toBe(backend === 'fork')
        // Field 6 of proc_pid_stat(5): the session.
        const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
          .replace(/^.*\) /, '')
          .split(' ')
        expect(Number(fields[3])).toBe(pid)
        expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).toContain(`HARROW_TREE=${root.aid.uuid}`)
        await portal.cancelActor()
      })
    })
  })

  test('R-650 R-812 R-651 writes to a file of its own, and its last line is there', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('loud', { module: RUDE })
        expect(await portal.call('printLines', 4096, 4096)).toBe('printed')
        const [name = ''] = readdirSync(root.vars.logDir as string).filter((file) => file.startsWith('loud.'))
        const path = `${root.vars.logDir}/${name}`
        await eventually('all of it is there', () => readFileSync(path, 'latin1').endsWith('the last line\n'))
        expect(statSync(path).mode & 0o777).toBe(0o600)
        expect(statSync(path).size).toBeGreaterThan(16 << 20)
        await portal.cancelActor()
      })
    })
  })

  test.runIf(backend === 'fork')(
    'R-622 what an actor says on the channel of Node reaches nobody, and is not kept',
    async () => {
      await tree(backend, async () => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('chatty', { module: RUDE })
          const before = heapMb()
          expect(await portal.call('sayToChannel', 200, 200_000)).toBe(true)
          // The channel was drained before the answer went out on the link, or shortly after.
          await eventually('40 MB are not kept', () => heapMb() - before < 20)
          await portal.cancelActor()
        })
      })
    },
  )

  test('R-650 the folder of the logs goes with a tree that ends in order', async () => {
    let folder: string | null = null
    await tree(backend, async (root) => {
      folder = root.vars.logDir
      await openNursery(async (an) => {
        await an.startActor('quiet', { module: RUDE })
        expect(readdirSync(root.vars.logDir as string)).toHaveLength(1)
        await an.cancel()
      })
    })
    expect(folder).toMatch(/logs/)
    expect(existsSync(folder!)).toBe(false)
  })

  test('R-650 with pipes it is drained line by line', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('loud', { module: RUDE, output: 'pipe' })
        expect(await portal.call('printLines', 2000, 1000)).toBe('printed')
        await portal.cancelActor()
      })
    })
  })

  test('R-651 R-652 holds no descriptor of ours', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const { pid } = await portal.call('facts')
        const inodes = (of: number | string): string[] =>
          readdirSync(`/proc/${of}/fd`).flatMap((fd) => {
            try {
              const target = readFileSync(`/proc/${of}/fdinfo/${fd}`, 'latin1')
              return /^ino:\t(\d+)$/m.exec(target)?.[1] ?? []
            } catch {
              return []
            }
          })
        const listening = (of: number | string): Set<string> => {
          const all = new Set(inodes(of))
          const unix = readFileSync('/proc/net/unix', 'latin1')
          // The flag of a listening socket, `include/linux/net.h`: __SO_ACCEPTCON.
          return new Set([...all].filter((inode) => new RegExp(`00010000 .* ${inode} `).test(unix)))
        }
        const [ours, theirs] = [listening('self'), listening(pid)]
        expect(ours.size).toBeGreaterThan(0)
        expect([...theirs].filter((inode) => ours.has(inode))).toEqual([])
        await portal.cancelActor()
      })
    })
  })

  test('R-663 an actor whose own code ends the process leaves no socket file', async () => {
    await tree(backend, async (root) => {
      const failed = failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          const [address = ''] = await addressesOf(root, portal.aid.uuid)
          const path = address.replace(/^unix:/, '')
          expect(existsSync(path)).toBe(true)
          await failure(portal.call('exitWith', 0))
          await eventually('the file is gone', () => !existsSync(path))
          throw new Error('seen')
        }),
      )
      expect((await failed).message).toContain('seen')
    })
  })

  test('R-663 R-209 a killed actor leaves no socket file', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const { pid } = await portal.call('facts')
        const [address = ''] = await addressesOf(root, portal.aid.uuid)
        const path = address.replace(/^unix:/, '')
        expect(existsSync(path)).toBe(true)
        expect(path).toContain(`.${pid}.`)
        await an.cancel({ hardKill: true })
        await eventually('the file is gone', () => !existsSync(path))
      })
    })
  })

  test('R-734 R-012 prints its tasks on SIGUSR2', async () => {
    await tree(
      backend,
      async (root) => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
          const call = portal.call('napping', 60_000).catch(() => {})
          const { pid } = await portal.call('whoAmI')
          process.kill(process.pid, 'SIGUSR2')
          await eventually('both have printed', () => [process.pid, pid].every((one) => existsSync(treeFile(one))))
          await eventually('the task is named', () => readFileSync(treeFile(pid), 'utf8').includes('"napping"'))
          expect(readFileSync(treeFile(pid), 'utf8')).toMatch(/"napping" parked waits .* for timer/)
          expect(readFileSync(treeFile(), 'utf8')).toContain(`actor tally (${backend}`)
          void root
          await an.cancel()
          await call
        })
      },
      { treeSignal: 'SIGUSR2' },
    )
  })
})

describe.runIf(BACKENDS.includes('thread'))('threads', () => {
  test('R-624 one that runs out of memory is a dead actor, not a dead process', async () => {
    await tree('thread', async () => {
      await expect(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('hungry', {
            module: TALLY,
            spawnOpts: { resourceLimits: { maxOldGenerationSizeMb: 24 } },
          })
          await portal.call('eatMemory')
        }),
      ).rejects.toMatchObject({ name: 'ActorFailure', cause: { code: 'ERR_WORKER_OUT_OF_MEMORY' } })
    })
  })

  test('R-625 R-653 R-810 many one after the other leave no thread', async () => {
    await tree('thread', async () => {
      const ids = new Set<number | undefined>()
      await openNursery(async (an) => {
        const once = async (): Promise<void> => {
          const portal = await an.startActor<typeof Tally>('one', { module: TALLY })
          expect(await portal.call('echo', 1)).toBe(1)
          ids.add([...an.children.values()].find((child) => child.aid.uuid === portal.aid.uuid)?.handle?.threadId)
          await portal.cancelActor()
          await eventually('it is reaped', () => an.size === 0)
        }
        await once()
        const before = threadsOf(process.pid).length
        for (let i = 0; i < 40; i++) await once()
        expect(ids.size).toBe(41)
        await eventually('as many threads as before', () => threadsOf(process.pid).length <= before)
      })
    })
  }, 60_000)

  test('R-223 R-811 R-806 one that waits for a program is freed by the end of that program', async () => {
    await tree(
      'thread',
      async () => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('stuck', { module: RUDE })
          await portal.call('facts')
          const call = portal.call('runProgram', 3).then(
            () => 'ran',
            (error: { code: string }) => error.code,
          )
          await an.cancel()
          expect(await call).toBe('HARROW_CLOSED')
          expect(an.size).toBe(0)
        })
      },
      { deadlines: { threadAbandon: 300 } },
    )
    const { abandonedThreads } = await import('../../src/spawn/thread/abandoned.ts')
    // The call ends in the end, and the thread with it.
    await eventually('the thread has ended', () => abandonedThreads() === 0)
  })

  test('R-224 a program that holds an abandoned thread ends all the same', async () => {
    await withProgram('abandoned-thread', [], async (program) => {
      await program.mark('ROOT_CLOSED')
      const { signal } = await program.exit
      expect(signal).toBe('SIGKILL')
      expect(program.out).toMatch(/1 thread\(s\) sit in a system call; .* instead of exit code 0/)
    })
  })

  test('R-628 R-801 SIGINT is the root’s also beside a spinning actor', async () => {
    await withProgram('idle-tree', ['thread', 'spin'], async (program) => {
      await program.mark('CHILD_PID')
      program.child.kill('SIGINT')
      expect(await program.exit).toEqual({ code: 130, signal: null })
    })
  })
})
