/** Who listens at a registry address that no registrar answers at, for the error that says so. Linux; elsewhere nobody is found. */
import { stateWords } from '../process/descriptors.ts'
import { listenersOn, unixListeners } from '../process/listeners.ts'
import { readStat } from '../process/procfs.ts'
import { commandOf } from '../process/tree.ts'
import { type Address, formatAddress } from '../wire/address.ts'
import { isBoundFor } from '../wire/listener.ts'

export interface Occupant {
  pid: number | undefined
  /** User of a TCP listener. */
  uid: number | undefined
  command: string
  /** `stopped by a signal`, `running` */
  state: string
  /** A registrar of harrow has bound it, for nobody else binds in that way. */
  registrar: boolean
}

/** A look at all processes: for errors only. */
export function occupantOf(address: Address): Occupant | undefined {
  if (address.kind === 'tcp') {
    const all = listenersOn([address.port])
    const one = all.find((listener) => listener.address === address.host) ?? all[0]
    return one && describe(one.pids[0], one.uid, false)
  }
  const [one] = unixListeners((path) => path === address.path || isBoundFor(address.path, path))
  return one && describe(one.pids[0], undefined, one.path !== address.path)
}

function describe(pid: number | undefined, uid: number | undefined, registrar: boolean): Occupant {
  const stat = pid === undefined ? undefined : readStat(pid)
  return {
    pid,
    uid,
    command: pid === undefined ? '' : commandOf(pid, 120),
    state: stat ? stateWords(stat.state) : 'in an unknown state',
    registrar,
  }
}

/** `process 4912 (node server.js), which is stopped by a signal, listens at unix:/…` */
export function occupantWords(address: Address, who: Occupant | undefined): string {
  const at = `listens at ${formatAddress(address)}`
  if (who?.pid !== undefined) return `process ${who.pid} (${who.command}), which is ${who.state}, ${at}`
  if (who?.uid !== undefined && who.uid !== process.getuid?.()) return `a process of the user with id ${who.uid} ${at}`
  return `a process that is not to be seen from here ${at}`
}

/** What to do about it. */
export function cureWords(address: Address, who: Occupant | undefined, mayWake: boolean): string {
  const other = address.kind === 'tcp' ? 'tcp:127.0.0.1:PORT' : 'unix:/absolute/path.sock'
  const own = `give this tree a registry of its own: openRoot({ registryAddrs: ['${other}'] })`
  if (who?.pid === undefined || !mayWake) return `End it, or ${own}.`
  return who.state.startsWith('stopped')
    ? `Continue it (kill -CONT ${who.pid}) or end it, or ${own}.`
    : `Wait until it is less busy, end it, or ${own}.`
}
