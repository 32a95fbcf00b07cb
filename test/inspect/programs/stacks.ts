/** Suspends functions in every shape, each at a line with a mark, and prints what the stacks of its promises tell. */
import { EventEmitter, once } from 'node:events'
import { asyncStacks } from '../../../src/inspect/async-stacks.ts'
import { driveSync, withSession } from '../../../src/inspect/drive.ts'
import { resolveFrame } from '../../../src/inspect/heap/resolve.ts'
import { takeSnapshotHere } from '../../../src/inspect/heap/take.ts'
import { factsFromStacks } from '../../../src/inspect/stack-facts.ts'
import { inspectSuspended } from '../../../src/inspect/suspended.ts'

const kept: unknown[] = []
const never = (): Promise<void> => new Promise((resolve) => kept.push(resolve))
const emitter = new EventEmitter()
class Sub extends Promise<void> {}
const gate = { waiting: [] as (() => void)[] }
const shared = never()

async function leaf(): Promise<void> {
  const before = 1
  await never() // @leaf
  kept.push(before)
}

async function middle(): Promise<void> {
  await leaf().then(() => 1) // @middle
}

async function all(): Promise<void> {
  await Promise.all([middle(), never()]) // @all
}

async function any(): Promise<void> {
  await Promise.any([leaf(), never()]) // @any
}

async function settled(): Promise<void> {
  await Promise.allSettled([leaf()]) // @settled
}

async function race(): Promise<void> {
  await Promise.race([leaf(), never()]) // @race
}

async function subclass(): Promise<void> {
  await new Sub((resolve) => kept.push(resolve)) // @subclass
}

async function thenable(): Promise<void> {
  // biome-ignore lint/suspicious/noThenProperty: the point of it
  await { then: (resolve: () => void) => kept.push(resolve) } // @thenable
}

async function event(): Promise<void> {
  await once(emitter, 'ready') // @event
}

async function* letters(): AsyncGenerator<string> {
  yield 'a'
  await never() // @letters
  yield 'b'
}

async function iterate(): Promise<void> {
  for await (const letter of letters()) kept.push(letter) // @iterate
}

class Gate {
  async pass(): Promise<void> {
    await new Promise<void>((resolve) => gate.waiting.push(resolve)) // @Gate.pass
  }
}

const arrow = async (): Promise<void> => {
  await never() // @arrow
}

async function second(): Promise<void> {
  await Promise.resolve()
  await never() // @second
}

async function sharedBy(): Promise<void> {
  await shared // @sharedBy
}

const body = 'globalThis.keepImport ??= [];await new Promise((r) => keepImport.push(r))'
const imported = import(['data:text/javascript', encodeURI(body)].join())
kept.push(
  all(),
  any(),
  settled(),
  race(),
  subclass(),
  thenable(),
  event(),
  iterate(),
  new Gate().pass(),
  arrow(),
  second(),
)
kept.push(sharedBy(), sharedBy(), imported)

setTimeout(() => process.exit(3), 60_000).unref()
await new Promise((resolve) => setTimeout(resolve, 30))

setTimeout(() => {
  let ran = false
  queueMicrotask(() => {
    ran = true
  })
  process.nextTick(() => {
    ran = true
  })
  const heap = takeSnapshotHere()
  const answer = withSession((post) => {
    const stacks = driveSync(asyncStacks({ ids: true }), post)
    const ranDuring = ran
    const facts = driveSync(inspectSuspended(heap, { budgetMs: 60_000, localsFor: 0 }), post)
    // The slow way, one walk over the heap for each function, is the truth to compare with.
    const truth = facts.suspended
      .filter(({ user }) => user)
      .map(({ id, script, fn, at }) => {
        const slow = driveSync(resolveFrame(id, script, false), post)
        return { fn, at, slow: slow.at }
      })
    return { stacks, ranDuring, truth, folded: factsFromStacks(stacks) }
  })
  console.log(JSON.stringify(answer))
  process.exit(0)
}, 1)
