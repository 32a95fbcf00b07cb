/** Who is the registrar: whoever answers at its address, else we are. */

import { RuntimeFailure } from '../errors.ts'
import { setTimer } from '../process/clean.ts'
import { monotonic } from '../scope/clock.ts'
import { type Address, formatAddress } from '../wire/address.ts'
import { greetPeer } from '../wire/handshake.ts'
import { dial } from '../wire/listener.ts'
import type { Deadlines } from './deadlines.ts'
import type { Server } from './server.ts'

export type Found = 'absent' | 'occupied' | 'registrar'

const ATTEMPTS = 3
const BACK_OFF_MS = 50

export interface Election {
  /** Nobody answers: we are to be the registrar. */
  registrar: boolean
  /**
   * Binds the registry addresses. Another root may be faster: then it is asked once more.
   * @returns true when somebody else is the registrar now
   */
  bind(server: Server): Promise<boolean>
}

/**
 * @throws RuntimeFailure when something else listens there, or, with `ensure`, when a registrar does
 */
export async function electRegistrar(
  addresses: readonly Address[],
  deadlines: Deadlines,
  ensure: boolean,
): Promise<Election> {
  const answers = await Promise.all(addresses.map((address) => probe(address, deadlines)))
  judge(addresses, answers, ensure)
  return {
    registrar: !answers.includes('registrar'),
    async bind(server) {
      for (const address of addresses) {
        try {
          await server.bind(address)
        } catch (error) {
          const again = await probe(address, deadlines)
          if (again === 'absent') throw error
          judge([address], [again], ensure)
          return true
        }
      }
      return false
    },
  }
}

function judge(addresses: readonly Address[], answers: readonly Found[], ensure: boolean): void {
  const at = (what: Found): string =>
    addresses
      .filter((_, index) => answers[index] === what)
      .map(formatAddress)
      .join(', ')
  if (answers.includes('occupied')) {
    throw new RuntimeFailure(`something that is no registrar listens at ${at('occupied')}: choose other registryAddrs.`)
  }
  if (ensure && answers.includes('registrar')) {
    throw new RuntimeFailure(`a registrar is already there at ${at('registrar')}, and ensureRegistry is set.`)
  }
}

/** Asks who listens at an address; at most `probe` for all attempts. Never rejects. */
export async function probe(address: Address, deadlines: Deadlines): Promise<Found> {
  if (formatAddress(address).endsWith(':0')) return 'absent'
  const until = monotonic() + deadlines.probe
  for (let attempt = 1; ; attempt++) {
    const limitMs = Math.min(deadlines.probeAttempt, until - monotonic())
    const answer = await ask(address, Math.max(1, limitMs))
    if (answer !== 'occupied' || attempt === ATTEMPTS || monotonic() >= until) return answer
    await new Promise((resolve) => setTimer(resolve, BACK_OFF_MS * attempt))
  }
}

async function ask(address: Address, limitMs: number): Promise<Found> {
  let transport: Awaited<ReturnType<typeof dial>>
  try {
    transport = await dial(address, { limitMs })
  } catch (error) {
    // A listener whose queue is full is there, and silent.
    const code = (error as { cause?: NodeJS.ErrnoException }).cause?.code ?? (error as NodeJS.ErrnoException).code
    return code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ECONNRESET' ? 'absent' : 'occupied'
  }
  try {
    const { channel, registrar } = await greetPeer(transport, {
      self: { name: 'probe', uuid: '' },
      role: 'probe',
      registrar: false,
      limitMs,
    })
    channel.destroy()
    return registrar ? 'registrar' : 'occupied'
  } catch {
    transport.destroy()
    return 'occupied'
  }
}
