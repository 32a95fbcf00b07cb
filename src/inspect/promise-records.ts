import type { RawFrame } from './facts.ts'
import { PromiseCalls } from './promise-calls.ts'
import type { SiteFrame } from './promise-sites.ts'

/** What is known of a pending promise. Never the promise itself. */
export interface PromiseRecord {
  id: number
  /** User frames at its birth. */
  created: RawFrame[]
  /** Its birth was the entry of a function: an async function's result (or a promise made by native code there). */
  entry?: Entry
  collected: boolean
  /** It takes over the state of this promise: resolved with it, or made from it by `then`. */
  follows?: number
  /** `Promise.all` and its like: what it was given. */
  parts?: { needs: 'every' | 'some'; ids: number[] }
  /** An async function's result: the `await` at which the function stands. */
  standsAt?: AwaitRecord
}

/** Where an async function was entered. */
export interface Entry {
  body: string
  at: string
  callers: string
}

/** One `await`: V8 makes a throwaway promise for it, whose parent is the awaited promise. */
export interface AwaitRecord {
  /** Id of the throwaway; a later `await` has a higher one. */
  id: number
  /** User frames at the `await`; the first one is the line of it. */
  awaited: RawFrame[]
  /** The `await` itself stands in user code. */
  user: boolean
  /** Id of the awaited promise. */
  target: number
  /** Result of the async function that does the `await`; undefined for module bodies and generators. */
  owner?: PromiseRecord
  /** Function text and position, to recognise the wrapper of `await value`. */
  at: string
}

/** Methods of an async generator that run it. */
const RESUMES = new Set(['next', 'return', 'throw'])

/** Fewer than are read, so that a builtin above the function does not push another caller out. */
const MOST_CALLERS = 8

const PARTS: Record<string, 'every' | 'some'> = { all: 'every', allSettled: 'every', race: 'some', any: 'some' }

/** The pending promises of one thread, fed by the promise hooks. Settled ones are forgotten at once. */
export class PromiseRecords {
  readonly promises = new Map<number, PromiseRecord>()
  readonly awaits = new Map<number, AwaitRecord>()
  /** All births, also of promises that have settled. */
  readonly calls = new PromiseCalls()
  /** True when a promise was not recorded because there were too many. */
  overflowed = false

  readonly #isUser: (url: string) => boolean
  readonly #most: number
  /** Results of async functions whose first stretch, up to the first `await`, may be running; innermost last. */
  #entered: PromiseRecord[] = []
  /** The reaction job that runs: an `await` that goes on, or a promise that is being resolved. */
  #job: AwaitRecord | PromiseRecord | undefined
  /** The newest `await`, which may turn out to be the wrapper of another one. */
  #candidate: AwaitRecord | undefined
  /** `Promise.all` and the like whose call may be running, and where; innermost last. */
  #combined: { record: PromiseRecord; at: string }[] = []

  constructor(isUser: (url: string) => boolean, most: number) {
    this.#isUser = isUser
    this.#most = most
  }

  /** @returns true when the promise's end matters, false for throwaways and when there is no room */
  born(id: number, parent: number | undefined, sites: SiteFrame[]): boolean {
    if (this.promises.size + this.awaits.size >= this.#most) {
      this.overflowed = true
      return false
    }
    const top = sites[0]
    const builtin = top === undefined || top.at === null
    if (parent !== undefined && !builtin) return this.#awaiting(id, parent, sites)
    const record: PromiseRecord = { id, created: this.userFrames(sites), collected: false }
    this.promises.set(id, record)
    this.calls.born(id, record.created, !builtin)
    if (builtin) this.#derive(record, parent, sites)
    else this.#enter(record, top, sites)
    return true
  }

  /** A promise that is watched from now on, though its birth was not seen. */
  adopt(id: number): void {
    if (this.promises.size < this.#most) this.promises.set(id, { id, created: [], collected: false })
    else this.overflowed = true
  }

  settled(id: number): void {
    const record = this.promises.get(id)
    if (record !== undefined) {
      this.promises.delete(id)
      this.#entered = this.#entered.filter((entered) => entered !== record)
      this.#combined = this.#combined.filter((combined) => combined.record !== record)
    }
    this.awaits.delete(id)
    this.calls.settled(id)
  }

  collected(id: number): void {
    const record = this.promises.get(id)
    if (record !== undefined) record.collected = true
  }

  jobBegins(id: number): void {
    // No synchronous stretch reaches into the next job.
    this.#entered = []
    this.#combined = []
    this.#candidate = undefined
    const went = this.awaits.get(id)
    if (went?.owner?.standsAt === went && went?.owner) went.owner.standsAt = undefined
    this.awaits.delete(id)
    this.#job = went ?? this.promises.get(id)
  }

  jobEnds(): void {
    this.#job = undefined
  }

  userFrames(sites: SiteFrame[]): RawFrame[] {
    return sites.filter(({ at }) => at !== null && this.#isUser(at.url)).map(({ fn, at }) => ({ fn, at }))
  }

  #awaiting(id: number, parent: number, sites: SiteFrame[]): boolean {
    const top = sites[0]!
    const at = place(top)
    const wrapper = this.#candidate
    this.#candidate = undefined
    if (wrapper !== undefined && wrapper.id === parent && wrapper.at === at) {
      // `await value`: a promise around the value came first, with the function's own promise as its parent, and looked
      // like an `await` until now. It is still there when the value is a thenable and not settled.
      const owner = this.promises.get(wrapper.target)
      if (this.awaits.delete(parent)) {
        this.promises.set(parent, { id: parent, created: wrapper.awaited, collected: false })
      }
      this.#note({ ...wrapper, id, target: parent, owner })
      return false
    }
    const user = this.#isUser(top.at!.url)
    const owner = this.#ownerOf(top, sites)
    this.#candidate = { id, awaited: this.userFrames(sites), user, target: parent, owner, at }
    this.#note(this.#candidate)
    // It may turn out to be a wrapper, whose end matters.
    return true
  }

  #note(record: AwaitRecord): void {
    this.awaits.set(record.id, record)
    if (record.owner !== undefined) record.owner.standsAt = record
  }

  /** Which async function does this `await`? */
  #ownerOf(top: SiteFrame, sites: SiteFrame[]): PromiseRecord | undefined {
    const callers = callersOf(sites)
    const job = this.#job
    // A function that goes on after an `await` has no caller.
    if (callers === '' && job !== undefined && 'target' in job && job.owner?.entry?.body === top.body) return job.owner
    // Its first `await` has the callers that its entry had, and whatever was entered after it has returned.
    const request = sites[1]?.at === null && RESUMES.has(sites[1].fn) ? callersOf(sites.slice(1)) : undefined
    for (let index = this.#entered.length - 1; index >= 0; index--) {
      const record = this.#entered[index]!
      const entry = record.entry!
      const same = entry.body === '' ? entry.callers === request : entry.body === top.body && entry.callers === callers
      if (!same) continue
      entry.body = top.body
      this.#entered.length = index
      return record
    }
    return undefined
  }

  #enter(record: PromiseRecord, top: SiteFrame, sites: SiteFrame[]): void {
    const entry: Entry = { body: top.body, at: place(top), callers: callersOf(sites) }
    // Further down in the same call: a promise that native code made (`import()`), and no entry.
    const inside = this.#entered.some(
      ({ entry: other }) => other?.body === entry.body && other.callers === entry.callers && other.at !== entry.at,
    )
    if (inside) return
    record.entry = entry
    this.#entered.push(record)
  }

  #derive(record: PromiseRecord, parent: number | undefined, sites: SiteFrame[]): void {
    const builtins = leadingBuiltins(sites)
    const kind = builtins.map((fn) => PARTS[fn]).find((needs) => needs !== undefined)
    if (kind !== undefined) {
      const at = sites[builtins.length]
      this.#combine(record, parent, kind, at === undefined ? '' : place(at) + callersOf(sites.slice(builtins.length)))
      return
    }
    if (parent === undefined) {
      // A request to an async generator, which runs up to its first `await` or `yield` within this call.
      const resumes = builtins.length === 1 && RESUMES.has(builtins[0] ?? '')
      if (resumes) this.#entered.push(Object.assign(record, { entry: { body: '', at: '', callers: callersOf(sites) } }))
      return
    }
    record.follows = parent
    const job = this.#job
    // Resolved with a promise: a job of its own calls `then` on that one, with nothing else on the stack.
    const alone = sites.slice(1).every((site) => site.async)
    if (job !== undefined && !('target' in job) && alone && !this.promises.has(job.follows ?? -1)) job.follows = parent
  }

  #combine(record: PromiseRecord, parent: number | undefined, needs: 'every' | 'some', at: string): void {
    if (parent === undefined) {
      // The result, or the wrapper of a plain value among the parts, which settles (and leaves the list) at once.
      record.parts = { needs, ids: [] }
      this.#combined.push({ record, at })
      return
    }
    record.follows = parent
    const here = this.#combined.filter((combined) => combined.at === at)
    let result = here.at(-1)
    if (result?.record.id === parent) {
      // The wrapper of a thenable among the parts.
      this.#combined = this.#combined.filter((combined) => combined !== result)
      result.record.parts = undefined
      result = here.at(-2)
    }
    result?.record.parts?.ids.push(parent)
  }
}

function place({ at }: SiteFrame): string {
  return at === null ? '' : `${at.url}:${at.line}:${at.column}`
}

/** The synchronous callers of the innermost function. */
function callersOf(sites: SiteFrame[]): string {
  return sites
    .slice(1, 1 + MOST_CALLERS)
    .filter((site) => !site.async)
    .map((site) => (site.at === null ? site.fn : place(site)))
    .join('|')
}

function leadingBuiltins(sites: SiteFrame[]): string[] {
  const end = sites.findIndex(({ at }) => at !== null)
  return (end === -1 ? sites : sites.slice(0, end)).map(({ fn }) => fn)
}
