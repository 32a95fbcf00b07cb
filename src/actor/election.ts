/** Who is the registrar: whoever answers at its address, else we are. */

import { RuntimeFailure, TimeoutError } from '../errors.ts'
import { setTimer } from '../process/clean.ts'
import { monotonic } from '../scope/clock.ts'
import { type Address, formatAddress, socketAddress } from '../wire/address.ts'
import { greetPeer, OtherKey } from '../wire/handshake.ts'
import { dial } from '../wire/listener.ts'
import type { Deadlines } from './deadlines.ts'
import { log } from './log.ts'
import { cureWords, occupantOf, occupantWords } from './occupant.ts'
import type { Server } from './server.ts'

/** `silent`: it takes connections and says nothing in time; `other key`: a registrar, over TCP, that is none of this user's. */
export type Found = 'absent' | 'registrar' | 'occupied' | 'silent' | 'other key'

export interface Answer {
  found: Found
  /** What whoever listens there said or did, for messages. */
  why: string
}

const ATTEMPTS = 3
const BACK_OFF_MS = 50

export interface Election {
  /** Nobody answers: we are to be the registrar. */
  registrar: boolean
  /** Where the registrar is. */
  addresses: readonly Address[]
  /**
   * Binds the registry addresses. Another root may be faster: then it is asked once more.
   * @returns true when somebody else is the registrar now
   */
  bind(server: Server): Promise<boolean>
}

export interface ElectionOptions {
  deadlines: Deadlines
  /** A registrar that is there is an error. */
  ensure: boolean
  /** Nobody has named these addresses: they are those that all programs of this user share. */
  shared: boolean
}

/**
 * At the shared address, a registrar of another program that gives no answer, since it is stopped or busy, is passed over with a
 * warning: the tree gets a registrar of its own. It neither joins that one nor takes its place.
 *
 * @throws RuntimeFailure when something else listens there, or, with `ensure`, when a registrar does; it names the process
 */
export async function electRegistrar(addresses: readonly Address[], options: ElectionOptions): Promise<Election> {
  const answers = await Promise.all(addresses.map((address) => probe(address, options.deadlines)))
  if (options.shared && !options.ensure && passedOver(addresses, answers)) {
    const own = [socketAddress('uds', 'registry')]
    log('warning', `Until this tree has ended it has a registrar of its own, at ${own.map(formatAddress).join()}.`)
    return { registrar: true, addresses: own, bind: (server) => bindAll(server, own, options) }
  }
  judge(addresses, answers, options)
  return {
    registrar: !answers.some(({ found }) => found === 'registrar'),
    addresses,
    bind: (server) => bindAll(server, addresses, options),
  }
}

async function bindAll(server: Server, addresses: readonly Address[], options: ElectionOptions): Promise<boolean> {
  for (const address of addresses) {
    try {
      await server.bind(address)
    } catch (error) {
      const again = await probe(address, options.deadlines)
      if (again.found === 'absent') throw error
      judge([address], [again], options)
      return true
    }
  }
  return false
}

function passedOver([address]: readonly Address[], [answer]: readonly Answer[]): boolean {
  if (address === undefined || answer?.found !== 'silent') return false
  const who = occupantOf(address)
  if (!who?.registrar) return false
  log(
    'warning',
    `${occupantWords(address, who)} as the registrar of all programs of this user, and ${answer.why}: actors of this tree cannot be found from other programs, nor theirs from here. ${cureWords(address, who, true)}`,
  )
  return true
}

function judge(addresses: readonly Address[], answers: readonly Answer[], { ensure }: ElectionOptions): void {
  for (const [i, address] of addresses.entries()) {
    const { found, why } = answers[i] as Answer
    if (found === 'absent' || found === 'registrar') continue
    const who = occupantOf(address)
    const said =
      found === 'other key'
        ? 'it is a registrar, but of another user or of another HARROW_RUNTIME_DIR: its key is not the one of this tree'
        : `it is no registrar that can be joined: ${why}`
    throw new RuntimeFailure(
      `no root can be opened: ${occupantWords(address, who)}; ${said}. ${cureWords(address, who, found === 'silent')}`,
    )
  }
  const there = addresses.filter((_, i) => answers[i]?.found === 'registrar')
  if (ensure && there.length > 0) {
    throw new RuntimeFailure(
      `a registrar is already there at ${there.map(formatAddress).join(', ')}, and ensureRegistry is set.`,
    )
  }
}

/** Asks who listens at an address; at most `probe` for all attempts. Never rejects. */
export async function probe(address: Address, deadlines: Deadlines): Promise<Answer> {
  if (formatAddress(address).endsWith(':0')) return { found: 'absent', why: '' }
  const began = monotonic()
  for (let attempt = 1; ; attempt++) {
    const restMs = began + deadlines.probe - monotonic()
    const answer = await ask(address, Math.max(1, Math.min(deadlines.probeAttempt, restMs)))
    const { found } = answer
    const last = attempt === ATTEMPTS || monotonic() - began >= deadlines.probe
    if (found === 'absent' || found === 'registrar' || found === 'other key') return answer
    if (last && found === 'silent')
      return { found, why: `it gave no answer within ${Math.round(monotonic() - began)} ms` }
    if (last) return answer
    await new Promise((resolve) => setTimer(resolve, BACK_OFF_MS * attempt))
  }
}

async function ask(address: Address, limitMs: number): Promise<Answer> {
  let transport: Awaited<ReturnType<typeof dial>>
  try {
    transport = await dial(address, { limitMs })
  } catch (error) {
    // A listener whose queue is full is there, and silent.
    const code = (error as { cause?: NodeJS.ErrnoException }).cause?.code ?? (error as NodeJS.ErrnoException).code
    if (code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ECONNRESET') return { found: 'absent', why: '' }
    return { found: code === undefined || code === 'EAGAIN' ? 'silent' : 'occupied', why: textOf(error) }
  }
  try {
    const { channel, registrar } = await greetPeer(transport, {
      self: { name: 'probe', uuid: '' },
      role: 'probe',
      registrar: false,
      limitMs,
    })
    channel.destroy()
    return registrar ? { found: 'registrar', why: '' } : { found: 'occupied', why: 'it is an actor of another tree' }
  } catch (error) {
    transport.destroy()
    const found = error instanceof TimeoutError ? 'silent' : error instanceof OtherKey ? 'other key' : 'occupied'
    return { found, why: textOf(error) }
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
