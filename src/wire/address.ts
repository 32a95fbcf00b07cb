/** Where an actor listens. */
import { isIP } from 'node:net'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { ownStart } from '../process/identity.ts'
import { runtimeDir } from '../process/runtime-dir.ts'

export { runtimeDir } from '../process/runtime-dir.ts'

export type Address =
  | { readonly kind: 'uds'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** Everything that is taken for an address: text (`unix:/path`, `tcp:host:port`, a multiaddr), `[host, port]`, `[dir, file]`. */
export type AddressLike = string | Address | readonly [string, number] | readonly [string, string]

/** Registry addresses differ from those of the reference, so that both can run on one machine (R-523). */
export const DEFAULT_REGISTRY_PORT = 4774
export const DEFAULT_REGISTRY_FILE = 'registry.sock'

/** The kernel's limits for the path of a socket, without the byte that ends it. */
const MOST_PATH_BYTES = process.platform === 'darwin' ? 103 : 107

export function defaultRegistryAddress(kind: 'uds' | 'tcp'): Address {
  if (kind === 'tcp') return { kind, host: '127.0.0.1', port: DEFAULT_REGISTRY_PORT }
  return { kind, path: join(runtimeDir(), DEFAULT_REGISTRY_FILE) }
}

/** A free address of an actor's own: a socket file named after it, or a port that the system chooses. */
export function socketAddress(kind: 'uds' | 'tcp', name: string): Address {
  if (kind === 'tcp') return { kind, host: '127.0.0.1', port: 0 }
  return { kind, path: socketPath(runtimeDir(), name) }
}

/**
 * Path of a socket of this process, in the form that the sweep of stale sockets knows: `<name>.<pid>.<start>.sock`. A name that
 * is unsafe or too long becomes a hash (R-518). Actors of one process differ by a number and some random letters.
 */
export function socketPath(folder: string, name: string): string {
  const end = `.${process.pid}.${start()}.sock`
  const unique = `${(++made).toString(36)}${Math.random().toString(36).slice(2, 5)}`
  const safe = /^[\w-]{1,40}$/.test(name) ? name : `actor-${hash(name)}`
  const path = join(folder, `${safe}-${unique}${end}`)
  return bytes(path) <= MOST_PATH_BYTES ? path : join(folder, `${unique}${end}`)
}

let made = 0

/** FNV-1a: only to be short and the same for the same name. */
export function hash(text: string): string {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0
  return value.toString(16).padStart(8, '0')
}

/** A process that was forked has the memory of another one. */
let known: { pid: number; start: number } | undefined

function start(): number {
  if (known?.pid !== process.pid) known = { pid: process.pid, start: ownStart() }
  return known.start
}

const bytes = (text: string): number => Buffer.byteLength(text)

export function formatAddress(address: Address): string {
  if (address.kind === 'uds') return `unix:${address.path}`
  return `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
}

/** @throws UsageError naming what was expected */
export function parseAddress(like: AddressLike): Address {
  if (Array.isArray(like)) {
    const [first, second] = like as readonly [unknown, unknown]
    if (typeof first === 'string' && typeof second === 'number') return tcp(first, second)
    if (typeof first === 'string' && typeof second === 'string') return uds(join(first, second))
    throw wrong(like)
  }
  if (typeof like === 'object' && like !== null) {
    const address = like as Address
    if (address.kind === 'uds') return uds(address.path)
    if (address.kind === 'tcp') return tcp(address.host, address.port)
    throw wrong(like)
  }
  if (typeof like !== 'string') throw wrong(like)
  const unix = /^unix:(\/.*)$/.exec(like) ?? /^\/unix(\/.*)$/.exec(like)
  if (unix) return uds(unix[1]!)
  const net = /^tcp:(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(like)
  if (net) return tcp((net[1] ?? net[2])!, Number(net[3]))
  const multi = /^\/ip[46]\/([^/]+)\/tcp\/(\d+)$/.exec(like)
  if (multi) return tcp(multi[1]!, Number(multi[2]))
  throw wrong(like)
}

function wrong(like: unknown): UsageError {
  return new UsageError(
    `an address is unix:/path, tcp:host:port, [host, port], [dir, file], /ip4/…/tcp/… or /unix/…; got ${JSON.stringify(like)}.`,
  )
}

function uds(path: string): Address {
  if (typeof path !== 'string' || !path.startsWith('/'))
    throw new UsageError(`a socket's path is absolute, got ${path}.`)
  // Node 22 binds a path that was cut, without a word; 24 fails with EINVAL (R-518).
  if (bytes(path) > MOST_PATH_BYTES) {
    throw new UsageError(
      `the socket path ${path} has ${bytes(path)} bytes; the system takes at most ${MOST_PATH_BYTES}.`,
    )
  }
  return { kind: 'uds', path }
}

/** Addresses that say "any" or "some neighbour" cannot be dialled by others, so none is taken (R-516). */
function tcp(host: string, port: number): Address {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new UsageError(`a port is 0 to 65535, got ${port}.`)
  const bad =
    host === '0.0.0.0' || host === '::'
      ? 'any address'
      : /^(169\.254\.|fe80:)/i.test(host)
        ? 'link-local'
        : multicast(host)
  if (bad)
    throw new UsageError(
      `${host} (${bad}) is no address that others can dial: name one of this machine, such as 127.0.0.1.`,
    )
  if (isIP(host) === 0 && !/^[\w.-]+$/.test(host)) throw new UsageError(`${JSON.stringify(host)} is no host.`)
  return { kind: 'tcp', host, port }
}

function multicast(host: string): string | undefined {
  if (/^ff/i.test(host) && isIP(host) === 6) return 'multicast'
  const first = isIP(host) === 4 ? Number(host.split('.')[0]) : 0
  return first >= 224 && first < 240 ? 'multicast' : undefined
}

/** Sockets first, then this machine, then others; the latest first within each (R-522). */
export function preferAddresses(addresses: readonly Address[]): Address[] {
  const tier = (address: Address): number => {
    if (address.kind === 'uds') return 0
    return address.host === 'localhost' || address.host === '::1' || address.host.startsWith('127.') ? 1 : 2
  }
  return addresses.toReversed().toSorted((a, b) => tier(a) - tier(b))
}
