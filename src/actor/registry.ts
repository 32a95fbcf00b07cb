import { RuntimeFailure } from '../errors.ts'
import { park } from '../scope/index.ts'
import type { Aid } from '../wire/messages.ts'
import { log } from './log.ts'

/** An actor that can be found. */
export interface Entry {
  aid: Aid
  addrs: string[]
}

/** Who is where: uid to addresses, and those who wait for a name. */
export class Registry {
  readonly #entries = new Map<string, Entry>()
  readonly #waiters = new Map<string, Set<(entry: Entry) => void>>()

  /** Idempotent; an address that another actor had is that one's no more. */
  register(aid: Aid, addrs: readonly string[]): void {
    for (const addr of addrs) this.#take(addr, aid.uuid)
    const known = this.#entries.get(aid.uuid)
    const entry = { aid, addrs: [...new Set([...(known?.addrs ?? []), ...addrs])] }
    this.#entries.delete(aid.uuid)
    this.#entries.set(aid.uuid, entry)
    const waiting = this.#waiters.get(aid.name)
    this.#waiters.delete(aid.name)
    for (const wake of waiting ?? []) wake(entry)
  }

  #take(addr: string, uuid: string): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.aid.uuid !== uuid) this.#drop(entry, addr)
    }
  }

  #drop(entry: Entry, addr: string): void {
    if (!entry.addrs.includes(addr)) return
    entry.addrs = entry.addrs.filter((one) => one !== addr)
    if (entry.addrs.length === 0) this.#entries.delete(entry.aid.uuid)
  }

  /** @returns false for one that was not known, which is only worth a line */
  unregister(uuid: string): boolean {
    const known = this.#entries.delete(uuid)
    if (!known) log('runtime', `actor ${uuid} was not registered`)
    return known
  }

  /** Deletes an address at which nobody answers. */
  forget(addr: string): void {
    for (const entry of [...this.#entries.values()]) this.#drop(entry, addr)
  }

  /** The one of that name that registered last. */
  find(name: string): Entry | undefined {
    return [...this.#entries.values()].findLast((entry) => entry.aid.name === name)
  }

  get(uuid: string): Entry | undefined {
    return this.#entries.get(uuid)
  }

  list(): Entry[] {
    return [...this.#entries.values()]
  }

  /** The same, or the next one that registers. Cancellable. */
  waitFor(name: string): Promise<Entry> {
    const found = this.find(name)
    if (found) return Promise.resolve(found)
    return park({ reason: 'event', on: `registration of ${name}` }, (resolve) => {
      const waiting = this.#waiters.get(name) ?? new Set()
      this.#waiters.set(name, waiting.add(resolve))
      return () => {
        waiting.delete(resolve)
        if (waiting.size === 0) this.#waiters.delete(name)
      }
    })
  }
}

export function notRegistrar(who: string): RuntimeFailure {
  return new RuntimeFailure(`${who} is not the registrar.`)
}
