/** Many forks in a row of one zygote, for a test and for `npm run soak:fork`. */
import { readdirSync, readFileSync } from 'node:fs'
import { childrenOf, threadsOf } from '../../src/process/procfs.ts'
import { endZygotes, zygoteFor } from '../../src/spawn/zygote/client.ts'
import { LifePipe } from '../../src/spawn/zygote/life-pipe.ts'
import { loadForkCalls } from '../../src/spawn/zygote/syscalls.ts'

export interface Holdings {
  descriptors: number
  threads: number
  mappings: number
  children: number
  rssMiB: number
}

export interface Forks {
  /** How many children ended in which way: `well`, `signal 11 at birth`, `hang`. */
  ends: Record<string, number>
  /** Of the zygote, after some forks and after all. */
  before: Holdings
  after: Holdings
  ms: number
}

export interface ForksOptions {
  warm?: readonly string[]
  /** No child is forked ahead: each fork is made when it is ordered. */
  spareless?: boolean
  /** Ends after so many, whatever is left to do. */
  minutes?: number
}

const HANG_MS = 30_000
const SETTLE = 10

/**
 * Every child is a whole actor: it looks for its parent, which is not there, and ends with 1 in order. Nothing is tried a
 * second time.
 */
export async function forksInARow(
  n: number,
  { warm = [], spareless = false, minutes = Infinity }: ForksOptions = {},
): Promise<Forks> {
  const calls = loadForkCalls()
  if ('missing' in calls) throw new Error(calls.missing)
  const alive = setInterval(() => {}, 1000)
  const kind = { tree: `forks-${process.pid}`, execArgv: [], warm, ...(spareless && { spareless }) }
  const env = { ...(process.env as Record<string, string>), HARROW_LOGLEVEL: 'silent' }
  const zygote = await zygoteFor(kind, env)
  const ends: Record<string, number> = {}
  const began = performance.now()
  let before: Holdings | undefined
  try {
    const until = began + 60_000 * minutes
    for (let i = 0; i < n && performance.now() < until; i++) {
      if (i === Math.min(SETTLE, n - 1)) before = holdings(zygote.pid)
      const end = await oneFork()
      ends[end] = (ends[end] ?? 0) + 1
    }
    const ms = performance.now() - began
    return { ends, before: before!, after: await atRest(zygote.pid, before!), ms }
  } finally {
    clearInterval(alive)
    await endZygotes()
  }

  function oneFork(): Promise<string> {
    return new Promise((resolve) => {
      let up = false
      let pid = 0
      const life = new LifePipe(calls as Exclude<typeof calls, { missing: string }>, {
        up: () => {
          up = true
        },
        wrong: (error) => done(`wrong: ${error.message}`),
        end: () => {},
      })
      const done = (end: string): void => {
        clearTimeout(timer)
        life.close()
        resolve(end)
      }
      const timer = setTimeout(() => {
        if (pid > 0) process.kill(pid, 'SIGKILL')
        done(up ? 'hang' : 'hang at birth')
      }, HANG_MS)
      const nowhere = { path: '/dev/null' }
      zygote.order(
        {
          task: { name: 'one', uuid: 'of-many', parentAddr: 'unix:/nowhere/forks.sock' },
          env,
          cwd: process.cwd(),
          umask: 0o22,
          stdout: nowhere,
          stderr: nowhere,
          life: life.out,
          stay: false,
        },
        {
          born: (one) => {
            pid = one
          },
          refused: (why) => done(`refused: ${why}`),
          exit: (code, signal) => {
            if (signal !== null) done(`signal ${signal}${up ? '' : ' at birth'}`)
            else done(code === 1 ? 'well' : `code ${code}`)
          },
          lost: done,
        },
      )
    })
  }
}

/** What the zygote opens for a moment, to look at a child or to practise, is none of what it holds; the socket to a child that waits is. */
async function atRest(pid: number, before: Holdings): Promise<Holdings> {
  let now = holdings(pid)
  for (let look = 0; look < 200 && now.descriptors > before.descriptors + 1; look++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    now = holdings(pid)
  }
  return now
}

function holdings(pid: number): Holdings {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: threadsOf(pid).length,
    mappings: readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n').length,
    children: childrenOf(pid).length,
    rssMiB: Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024),
  }
}
