/** Threads and processes beside the one that hangs: what each of them does, in words, and which one an await is about. */
import type { ChildFact, WaitObject } from '../inspect/wait-facts.ts'
import { awaitedAt } from './awaited.ts'
import { type Leaf, leavesAmong } from './chains.ts'
import { firstUser, named } from './classes/common.ts'
import type { Frame, HangFacts, OtherThread } from './facts.ts'
import { quote, where } from './words.ts'

/** Where another thread stands. */
export interface Standing {
  thread: OtherThread
  /** Absent when the code is in no file of the user's. */
  frame?: Frame
  /** A clause that follows the name of the thread: ``is busy at `for (;;) {}` (job.ts:3:1)``. */
  words: string
}

/** Code that a thread or process was given as text: `[worker eval]`, `[eval]`, `evalmachine.<anonymous>`. */
const GIVEN_AS_TEXT = /^(?:\[[^\]]*eval\]|evalmachine\.|data:)/

/** The line at which another thread is busy or waits; undefined when nothing of its code was seen. */
export function standingOf(thread: OtherThread): Standing | undefined {
  if (thread.sync !== null) {
    const frames = [...thread.sync.frames, ...thread.sync.second]
    const frame = firstUser(frames)
    if (frame === undefined) {
      const text = frames.find(({ site }) => GIVEN_AS_TEXT.test(site.path))
      return {
        thread,
        words: `does not turn its event loop${text === undefined ? '' : `: it stands at ${named(text)}`}`,
      }
    }
    const place = frame.source === undefined ? named(frame) : `${quote(frame.source)} (${where(frame.site)})`
    const turning = thread.sync.microtasks === 'turning' ? ' with promise jobs that keep its event loop away' : ''
    return { thread, frame, words: `is busy at ${place}${turning}` }
  }
  // A function that nobody awaits is often a loop that serves for as long as the thread lives; it is told last.
  const leaf = leavesAmong(
    thread.awaits ?? [],
    (thread.awaits ?? []).filter((one) => one.user),
  )[0]
  return leaf && { thread, frame: leaf.frame, words: `waits at ${awaitedAt(leaf.frame)}` }
}

/** The worker thread that an object in the hung thread stands for. */
export function threadOf(facts: HangFacts, object: WaitObject | undefined): OtherThread | undefined {
  const id = object?.worker?.threadId
  return id === undefined ? undefined : facts.others?.find((one) => one.pid === facts.pid && one.threadId === id)
}

/** Where the worker thread stands that a hung await listens to; without a choice also when the object is not known. */
export function threadAwaited(facts: HangFacts, leaf: Leaf): Standing | undefined {
  for (const held of leaf.heldBy) {
    if (!/^(?:Worker|MessagePort)$/.test(held.owner)) continue
    const object = facts.waitedFor?.objects.find(({ id }) => id === held.id)
    const threads = (facts.others ?? []).filter((one) => one.pid === facts.pid)
    const thread = threadOf(facts, object) ?? (threads.length === 1 ? threads[0] : undefined)
    const standing = thread && standingOf(thread)
    if (standing !== undefined) return standing
  }
  return undefined
}

/** Where a child process stands, its main thread before its worker threads. */
export function childStanding(facts: HangFacts, child: Pick<ChildFact, 'pid'>): Standing | undefined {
  const mine = (facts.others ?? []).filter((one) => one.pid === child.pid)
  const standings = mine.flatMap((one) => standingOf(one) ?? [])
  return standings.find(({ thread }) => thread.sync !== null) ?? standings[0]
}
