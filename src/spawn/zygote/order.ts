/** Getting a child from a zygote: once more when it dies at birth, and then not at all. */
import { constants } from 'node:os'
import { clearTimer, setTimer } from '../../process/clean.ts'
import { identify, isRunning, signalProcess } from '../../process/identity.ts'
import { isPlain } from '../../wire/ahead.ts'
import { lateAfter } from '../../wire/late.ts'
import type { Exit, SpawnRequest } from '../backend.ts'
import { OutputTail } from '../output.ts'
import type { ActorTask } from './actor-life.ts'
import { handDown, type ZygoteClient, type ZygoteKind, zygoteFor } from './client.ts'
import { LifePipe } from './life-pipe.ts'
import { type Output, openOutput } from './output.ts'
import { ACTOR_ZYGOTE_FLAGS, type Order, ZYGOTE_ENV } from './protocol.ts'
import { type ForkCalls, loadForkCalls } from './syscalls.ts'

export type ForkResult =
  | { kind: 'exit'; exit: Exit }
  /** It never lived; something else may be tried. */
  | { kind: 'failed'; why: string }

export interface Birth {
  readonly result: Promise<ForkResult>
  /** It is to be killed: no further attempt. */
  giveUp(): void
}

export interface BirthEvents {
  born(pid: number): void
  /** It lives: what it was told at birth is done. */
  up?(): void
  /** It died at birth; another one takes its place. */
  gone(): void
}

/** `DEADLINES.forkReturn` of the runtime, where the options name no other. */
const FORK_RETURN_MS = 10_000
/** From fork(2) to the first byte of the child, which takes a few milliseconds. */
const BIRTH_MS = 5000
/** The end of the pipe and the word of the zygote come at the same time; one of them may be late. */
const REPORT_MS = 1000
const POLL_MS = 20
/** A page that V8 maps between the two system calls of a fork is missing in the child, which dies of it at once. */
const RETRIES = 1

/** Where a child comes from, and what it is to be. */
export interface Plan {
  zygote(): Promise<ZygoteClient>
  /** All of the order but the ways out, which are made for each attempt. */
  order(zygote: ZygoteClient): Omit<Order, 'stdout' | 'stderr' | 'life'>
  /** @throws Error when there are no descriptors left */
  output(calls: ForkCalls): Output
  /** Further forks when a child dies at birth. Default 1. */
  retries?: number
  /** Milliseconds in which the zygote must answer. Default 10 s. */
  forkReturnMs?: number
}

/** An actor that is ordered, with the end of its output. */
export interface Ticket extends Birth {
  outputTail(): string
  dispose(keep: boolean): void
}

export function orderActor(request: SpawnRequest, events: BirthEvents): Ticket {
  const tail = new OutputTail(request.output)
  return {
    ...orderChild(planOf(request, tail), events),
    outputTail: () => tail.tail(),
    dispose: (keep) => tail.dispose(keep),
  }
}

function planOf({ aid, parentAddr, ahead, env, execArgv, output, options }: SpawnRequest, tail: OutputTail): Plan {
  const { warm = [], bare, spare, cwd = process.cwd(), onParentLost, retries, forkReturn } = options
  const told = ahead && isPlain(ahead) ? { told: ahead } : undefined
  const kind: ZygoteKind = {
    tree: env.HARROW_TREE ?? '',
    execArgv: execArgv.filter((flag) => !ACTOR_ZYGOTE_FLAGS.includes(flag)),
    warm: warm as readonly string[],
    ...(bare === true && { bare: true }),
    ...(spare === false && { spareless: true }),
  }
  return {
    zygote: () => zygoteFor(kind, env),
    order: (zygote) => ({
      task: { name: aid.name, uuid: aid.uuid, parentAddr, ...told } satisfies ActorTask,
      env: { ...env, [ZYGOTE_ENV]: handDown(kind, zygote) },
      cwd: cwd as string,
      umask: process.umask(),
      stay: onParentLost === 'stay',
    }),
    output: (calls) => openOutput(calls, output, tail),
    ...(retries !== undefined && { retries: retries as number }),
    ...(forkReturn !== undefined && { forkReturnMs: forkReturn as number }),
  }
}

/** Has a child made; it is forked once more when it dies at birth. */
export function orderChild(plan: Plan, events: BirthEvents): Birth {
  let givenUp = false
  const attempts = async (): Promise<ForkResult> => {
    const calls = loadForkCalls()
    if ('missing' in calls) return { kind: 'failed', why: calls.missing }
    const most = 1 + (plan.retries ?? RETRIES)
    let why = ''
    for (let n = 0; n < most; n++) {
      const attempt = new Attempt(calls, plan, events, () => givenUp)
      const result = await attempt.run()
      if (givenUp && result.kind !== 'exit') return KILLED
      if (result.kind !== 'again') return result
      why = result.why
      events.gone()
    }
    return { kind: 'failed', why }
  }
  return {
    result: attempts().catch((error) => ({ kind: 'failed', why: error instanceof Error ? error.message : `${error}` })),
    giveUp: () => {
      givenUp = true
    },
  }
}

const KILLED: ForkResult = { kind: 'exit', exit: { code: null, signal: 'SIGKILL' } }

type AttemptResult = ForkResult | { kind: 'again'; why: string }

/** One fork. */
class Attempt {
  readonly #calls: ForkCalls
  readonly #plan: Plan
  readonly #events: BirthEvents
  readonly #isGivenUp: () => boolean
  readonly #result = Promise.withResolvers<AttemptResult>()
  #phase: 'asked' | 'born' | 'up' | 'wrong' | 'over' = 'asked'
  #life: LifePipe | undefined
  #output: Output | undefined
  #clearLimit = (): void => {}
  #pid: number | undefined
  #lost = false

  constructor(calls: ForkCalls, plan: Plan, events: BirthEvents, isGivenUp: () => boolean) {
    this.#calls = calls
    this.#plan = plan
    this.#events = events
    this.#isGivenUp = isGivenUp
  }

  async run(): Promise<AttemptResult> {
    let zygote: ZygoteClient
    try {
      zygote = await this.#plan.zygote()
    } catch (error) {
      return { kind: 'failed', why: error instanceof Error ? error.message : String(error) }
    }
    if (this.#isGivenUp()) return KILLED
    try {
      this.#ask(zygote)
      return await this.#result.promise
    } finally {
      this.#phase = 'over'
      this.#clearLimit()
      this.#life?.close()
      this.#output?.letGo()
    }
  }

  #ask(zygote: ZygoteClient): void {
    this.#life = new LifePipe(this.#calls, {
      up: () => this.#up(),
      wrong: (error) => this.#settle({ kind: 'exit', exit: { code: null, signal: null, error } }),
      end: (code) => this.#pipeEnded(code),
    })
    this.#output = this.#plan.output(this.#calls)
    const order: Order = {
      ...this.#plan.order(zygote),
      stdout: this.#output.stdout,
      stderr: this.#output.stderr,
      life: this.#life.out,
    }
    const limitMs = this.#plan.forkReturnMs ?? FORK_RETURN_MS
    this.#limit(limitMs, () => this.#failed(`the zygote (pid ${zygote.pid}) gave no answer within ${limitMs} ms`))
    zygote.order(order, {
      born: (pid) => this.#born(pid),
      refused: (why) => this.#failed(`the zygote refused: ${why}`),
      exit: (code, signal) => this.#collected(code, signalName(signal)),
      lost: (why) => this.#zygoteLost(why),
    })
  }

  #settle(result: AttemptResult): void {
    this.#result.resolve(result)
  }

  #failed(why: string): void {
    this.#settle({ kind: 'failed', why })
  }

  #limit(ms: number, late: () => void): void {
    this.#clearLimit()
    this.#clearLimit = lateAfter(ms, late)
  }

  #born(pid: number): void {
    if (this.#phase === 'over') return
    this.#pid = pid
    this.#events.born(pid)
    if (this.#phase !== 'asked') return
    this.#phase = 'born'
    const identity = identify(pid)
    this.#limit(BIRTH_MS, () => {
      if (identity) signalProcess(identity, 'SIGKILL')
      this.#settle({ kind: 'again', why: `its child (pid ${pid}) did not come up within ${BIRTH_MS} ms` })
    })
  }

  #up(): void {
    if (this.#phase === 'over') return
    this.#phase = 'up'
    this.#clearLimit()
    this.#output?.letGo()
    this.#events.up?.()
  }

  /** The zygote has collected it. */
  #collected(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#phase === 'over') return
    if (this.#phase === 'up' || this.#isGivenUp()) {
      this.#settle({ kind: 'exit', exit: { code, signal } })
      return
    }
    // What it says of itself comes by the pipe, which may be later.
    const end = (): void => {
      const how = signal ?? `exit code ${code}`
      if (this.#phase === 'up') this.#settle({ kind: 'exit', exit: { code, signal } })
      else this.#settle({ kind: 'again', why: `its child (pid ${this.#pid}) died at birth (${how})` })
    }
    this.#limit(REPORT_MS, end)
    this.#life?.settle(end)
  }

  /** Running actors go on without it. */
  #zygoteLost(why: string): void {
    this.#lost = true
    if (this.#phase === 'asked') this.#settle({ kind: 'again', why })
  }

  /** Nobody holds the pipe any more: that is its end, and the zygote tells how, if there is one. */
  #pipeEnded(code: number | undefined): void {
    if (this.#phase !== 'up') return
    const told: Exit | undefined = code === undefined ? undefined : { code, signal: null }
    const unknown: Exit = {
      code: null,
      signal: null,
      error: new Error('it ended after its zygote had gone: nobody knows how'),
    }
    const end = (): void => {
      const identity = this.#pid === undefined ? undefined : identify(this.#pid)
      // It may be on its way out still, or have closed all of its descriptors, this one too.
      if (identity && isRunning(identity)) {
        const timer = setTimer(end, POLL_MS)
        this.#clearLimit = () => clearTimer(timer)
        return
      }
      this.#settle({ kind: 'exit', exit: told ?? unknown })
    }
    if (this.#lost) end()
    else this.#limit(REPORT_MS, end)
  }
}

/** Name of a signal, by its number. */
function signalName(number: number | null): NodeJS.Signals | null {
  if (number === null) return null
  const found = Object.entries(constants.signals).find(([, value]) => value === number)
  return (found?.[0] as NodeJS.Signals | undefined) ?? 'SIGKILL'
}
