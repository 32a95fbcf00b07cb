/**
 * A worker's side of harrow: the state record, the breadcrumbs, the tracker, and what answers the main process. It is made in
 * two steps: first what lies in memory only, which a process that is forked many times does once for all of its children; then
 * what each worker has of its own.
 */
import { readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { OrphanError } from '../../src/errors.ts'
import { askActors, hasActors } from '../../src/inspect/actors.ts'
import { installBreadcrumbs, noteCryptoCalls } from '../../src/inspect/breadcrumbs.ts'
import { noteCalls } from '../../src/inspect/call-notes.ts'
import { readCallSites } from '../../src/inspect/call-sites.ts'
import { type HandleRegistry, installHandles } from '../../src/inspect/resources/handles.ts'
import { watchSpawns } from '../../src/inspect/spawn-watch.ts'
import type {
  FakeTimerFact,
  FromWorker,
  HandleOpinion,
  Section,
  SelfReport,
  ToWorker,
  TraceOrder,
  WorkerConfig,
} from '../protocol.ts'
import { isOurs, MARK, MEMBER_ENV } from '../protocol.ts'
import { encodeRecord, openRecord } from '../state-record.ts'
import { isUserScript } from '../user-code.ts'
import { expose } from './api.ts'
import { Children } from './children.ts'
import { CleanRealm } from './clean-realm.ts'
import { currentConcurrent } from './concurrent.ts'
import { FileEnd, type FileTask, type Reports } from './file-end.ts'
import { clone, now, onMessage, post, thread, writeAt } from './globals.ts'
import { startMeasuring } from './measure.ts'
import { answered, ask } from './requests.ts'
import type { RunnerClass } from './runner.ts'
import { TestDeltas } from './test-deltas.ts'
import type { Trace } from './trace.ts'
import { Tracker } from './tracker.ts'

/** For all actors of a tree to tell what they do, milliseconds. */
const ACTORS_MS = 400

export interface VitestModule {
  TestRunner: RunnerClass
  vi: { useFakeTimers(...args: unknown[]): unknown; isFakeTimers(): boolean; getTimerCount(): number }
}

const require = createRequire(import.meta.url)
const realm = new CleanRealm()
const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
/** Synchronous, because it is needed inside a timer callback, where nothing may be awaited. */
const load = <T>(name: string): T => realm.within(() => require(`./${name}${extension}`) as T)

export interface Side {
  /** Opens the state record. With nothing before it but {@link makeSide}, unless this process has been forked. */
  begin(record: string | null): void
  /** This process was another one, which has called {@link makeSide}: what was noted until now is not of this one. */
  forget(): void
  /** Promises are traced. */
  trace(): Promise<void>
  /** Patches vitest. */
  watch(vitest: VitestModule): void
  /** Answers the main process from now on, and greets it. After vitest's own entry, or that would lose its first messages. */
  greet(): void
}

/** @param notes is added to what does not work, and told with the greeting */
export function makeSide(config: WorkerConfig, notes: string[]): Side {
  let fd: number | null = null
  let trace: Trace | undefined
  let fakeTimersSince: FakeTimerFact['installed'] = []
  let vi: VitestModule['vi'] | undefined
  let dumps = 0

  const fakeTimerFact = (): FakeTimerFact | null => {
    try {
      if (!vi?.isFakeTimers()) return null
      return { on: true, pending: vi.getTimerCount(), installed: fakeTimersSince }
    } catch {
      return null
    }
  }
  const look = (owner: string | null): SelfReport => {
    const { selfReport } = load<typeof import('./self-report.ts')>('self-report')
    const open = handles === null ? undefined : () => handles.live({ unref: true }).map(({ handle }) => handle)
    const { signals, fetches } = calls
    const fakeTimers = fakeTimerFact()
    const handleOf = (object: object): number | undefined => handles?.idOf(object)
    return realm.within(() =>
      selfReport({
        owner,
        fakeTimers,
        redact: config.redact,
        snapshotMb: config.snapshotMb,
        signals,
        fetches,
        children: () => children.all(),
        ...(open && { handles: open, handleOf }),
      }),
    )
  }
  const report = (owner: string | null): SelfReport => {
    try {
      return look(owner)
    } catch (error) {
      // A test has replaced what everybody needs: where it stands is what is left.
      return unseen(owner, error)
    }
  }

  /** What else is to be asked, beside the worker itself: actors, threads and processes that its code has started. */
  const lookAround = (found: SelfReport): Promise<unknown> | undefined => {
    const others = config.othersMs > 0 && hasOthers(found)
    if (!others && !hasActors()) return undefined
    return (async () => {
      // First the actors: one that is being looked at is too busy to tell anything.
      if (hasActors()) found.actors = await askActors(ACTORS_MS)
      if (others) await load<typeof import('./others.ts')>('others').lookAtOthers(found, config)
    })()
  }

  const tracker = new Tracker({
    changed(state) {
      if (fd === null) return
      try {
        const { bytes, length } = encodeRecord(state)
        writeAt(fd, bytes, 0, length, 0)
      } catch {
        // A test closed the descriptor or the disk is full: the record goes stale, pings still work.
      }
    },
    overdue(section, owner) {
      if (config.trace !== null) return 'hold'
      if (dumps >= config.maxDumps || tracker.expectsFailure(section.test)) return undefined
      dumps++
      const waitedMs = now() - section.start
      const state = clone(tracker.state)
      const { phase, hook } = tracker.state
      tracker.to('dump', hook)
      const found = report(owner)
      const tell = (): void =>
        send({ [MARK]: 'timeout', section: plainSection(section), waitedMs, state, report: found })
      // Meanwhile another test may have begun something else.
      const goOn = (): void => {
        if (tracker.state.phase === 'dump') tracker.to(phase, hook)
        tell()
      }
      const asked = lookAround(found)
      if (asked === undefined) {
        goOn()
        return undefined
      }
      // Before vitest rejects anything, and with that ends what the test has started.
      return asked.then(goOn, goOn)
    },
    fileEnd(file, runner) {
      const moved = deltas?.take() ?? []
      const { filepath } = file as FileTask
      if (moved.length > 0 && filepath) send({ [MARK]: 'deltas', file: filepath, deltas: moved })
      if (config.measure && filepath) send({ [MARK]: 'learned', file: filepath, ...measure() })
      return fileEnd.ended(file as FileTask, runner as Reports)
    },
    testEnd: (id) => deltas?.ended(id),
    between() {
      noteCryptoCalls()
      deltas?.reset()
    },
    ...(config.trace !== null && { body: (owner, promise) => trace?.watch(owner, promise) }),
  })

  let measure = startMeasuring()
  const scope = () => tracker.scope()
  const handles = startHandles(scope, notes)
  const calls = noteCalls()
  const children = new Children()
  let deltas = config.leaks ? new TestDeltas(() => children.some) : undefined
  let spawned = false
  const mark = { name: MEMBER_ENV, value: process.env[MEMBER_ENV] ?? '' }
  watchSpawns({
    mark,
    started(note, child) {
      spawned = true
      if (child) children.add(child)
      send({ [MARK]: 'spawned', scope: scope(), ...note, pid: note.pid ?? null })
    },
  })
  const fileEnd = new FileEnd({
    handles: config.leaks ? handles : null,
    ignore: config.ignoreLeaks.map(({ kind, site }) => ({
      ...(kind !== null && { kind: new RegExp(...kind) }),
      ...(site !== null && { site: new RegExp(...site) }),
    })),
    spawned: () => {
      const before = spawned && config.orphans
      spawned = false
      return before
    },
    serving: () => children.serving(),
    hung: () => tracker.hung(),
    isolated: config.isolated,
  })

  installBreadcrumbs({
    enter(crumb) {
      tracker.state.crumb = crumb
      tracker.to(tracker.state.phase, tracker.state.hook)
    },
    leave() {
      tracker.state.crumb = null
      tracker.to(tracker.state.phase, tracker.state.hook)
    },
  })

  if (isMainThread) {
    process.on('newListener', (event) => {
      if (event !== 'SIGUSR1') return
      tracker.state.sigusr1 = true
      tracker.to(tracker.state.phase, tracker.state.hook)
    })
  }

  const dump = async (n: number, owner: string | null): Promise<void> => {
    const state = clone(tracker.state)
    const found = report(owner ?? tracker.owner())
    await lookAround(found)
    send({ [MARK]: 'dumped', n, state, report: found })
  }

  return {
    begin(record) {
      fd = openStateRecord(record, notes)
    },
    forget() {
      handles?.forget()
      tracker.restart()
      spawned = false
      mark.value = process.env[MEMBER_ENV] ?? ''
      measure = startMeasuring()
      if (deltas) deltas = new TestDeltas(() => children.some)
    },
    async trace() {
      if (config.trace !== null) trace = await startTrace(config.trace, config.secondOpinion, notes)
    },
    watch(vitest) {
      vi = vitest.vi
      watchFakeTimers(vitest.vi, (frames) => {
        fakeTimersSince = frames
      })
      notes.push(...tracker.install(vitest.TestRunner))
      exposeApi(tracker, handles, () => children.serving())
    },
    greet() {
      onMessage((message) => {
        if (!isOurs(message)) return
        const request = message as unknown as ToWorker
        switch (request[MARK]) {
          case 'ping':
            send({ [MARK]: 'pong', n: request.n, state: tracker.state })
            break
          case 'verdict':
            answered(request)
            break
          case 'looked':
            load<typeof import('./others.ts')>('others').looked(request)
            break
          case 'dump':
            void dump(request.n, request.owner)
            break
        }
      })
      send({ [MARK]: 'hello', pid: process.pid, thread, tid: kernelThread(), notes })
    },
  }
}

function send(message: FromWorker): void {
  post(message)
}

/** The report of a worker that could not be looked at from inside. */
function unseen(owner: string | null, error: unknown): SelfReport {
  const why = error instanceof Error ? error.message : String(error)
  const notes = [`no look at the worker: ${why} (its code may have replaced what the look needs)`]
  const nothing = {
    async: null,
    wait: null,
    fakeTimers: null,
    resources: null,
    handles: null,
    signals: [],
    fetches: [],
  }
  return { ...nothing, owner, notes, tookMs: 0 }
}

function plainSection({ test, hook, start, timeout }: Section): Section {
  return { test, hook, start, timeout }
}

/** Also without looking for leaks: a dump names the lines that made what a test waits for. */
function startHandles(scope: () => unknown, notes: string[]): HandleRegistry | null {
  try {
    return installHandles({ scope, isUser: isUserScript })
  } catch (error) {
    notes.push(`no creation sites of handles: ${error instanceof Error ? error.message : String(error)}`)
    return null
  }
}

function openStateRecord(path: string | null, notes: string[]): number | null {
  if (path === null) return null
  try {
    return openRecord(path)
  } catch (error) {
    notes.push(`no state record: ${error instanceof Error ? error.message : String(error)}`)
    return null
  }
}

function orphanError({ message, stack }: { message: string; stack: string }): OrphanError {
  return Object.defineProperty(new OrphanError(message), 'stack', { value: stack })
}

function exposeApi(tracker: Tracker, handles: HandleRegistry | null, serving: () => number[]): void {
  expose({
    // Read through the inspector while the thread is paused, when no message can be answered.
    snapshot: () =>
      JSON.stringify({
        state: tracker.state,
        finished: tracker.finished(),
        threads: threadsIn(handles),
        current: currentConcurrent() ?? null,
      }),
    api: {
      handles,
      scope: () => tracker.scope(),
      async reap(whose, finding) {
        const { reaped, failures } = await ask({ [MARK]: 'reap', whose, finding, serving: finding ? serving() : [] })
        return { reaped, errors: failures.map(({ error }) => orphanError(error)) }
      },
      keep: (pid, until) => send({ [MARK]: 'keep', pid, until }),
    },
  })
}

function threadsIn(handles: HandleRegistry | null): number[] {
  return (handles?.live({ unref: true }) ?? []).flatMap(({ handle }) => handle.threadId ?? [])
}

/** Has the code of this worker started threads or processes that live? */
function hasOthers({ handles, wait }: SelfReport): boolean {
  return (
    (handles ?? []).some(({ threadId }) => threadId !== undefined) ||
    (wait?.children ?? []).some(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
  )
}

function watchFakeTimers(vi: VitestModule['vi'], installed: (frames: FakeTimerFact['installed']) => void): void {
  const original = vi.useFakeTimers
  vi.useFakeTimers = function (this: unknown, ...args: unknown[]) {
    installed(readCallSites(8, vi.useFakeTimers))
    return original.apply(this, args)
  }
}

/** Linux: the thread's own id in the kernel, under which /proc lists its children and its system call. */
function kernelThread(): number | null {
  try {
    const tid = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    return Number.isInteger(tid) ? tid : null
  } catch {
    return null
  }
}

async function startTrace(order: TraceOrder, second: boolean, notes: string[]): Promise<Trace | undefined> {
  let opinion: (() => HandleOpinion[]) | undefined
  if (second) {
    try {
      opinion = await load<typeof import('./second-opinion.ts')>('second-opinion').startSecondOpinion()
    } catch (error) {
      notes.push(`no second opinion on open handles: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  try {
    return load<typeof import('./trace.ts')>('trace').startTrace(send, order, opinion)
  } catch (error) {
    notes.push(`no promise trace: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}
