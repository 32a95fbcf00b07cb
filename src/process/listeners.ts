/** Who listens on a TCP port. Linux; elsewhere nothing is found. */
import { monotonic } from './clean.ts'
import { socketInode } from './descriptors.ts'
import { linkTarget, listDirectory, listPids, readText } from './procfs.ts'

/** A TCP socket that waits for connections, and the processes that have it open as far as they can be seen. */
export interface Listener {
  port: number
  /** `127.0.0.1`, `::`. */
  address: string
  /** User that made the socket. */
  uid: number
  inode: string
  /** Lowest first. Empty when it is held by a process that we cannot look into. */
  pids: number[]
}

/** A look at the descriptors of all processes stops after this time. */
const SEARCH_MS = 5000
/** `st` of a listening socket in `/proc/net/tcp`, see proc_pid_net(5) and `include/net/tcp_states.h`. */
const LISTEN = '0A'

/**
 * Everything that listens on one of the ports, in our own network namespace. 4 to 10 ms for the tables, and a look at the
 * descriptors of all processes when a port is taken.
 */
export function listenersOn(ports: Iterable<number>): Listener[] {
  const wanted = new Set(ports)
  const rows = ['tcp', 'tcp6'].flatMap((table) => listening(table)).filter(({ port }) => wanted.has(port))
  if (rows.length === 0) return []
  const holders = holdersByInode(new Set(rows.map(({ inode }) => inode)))
  return rows.map((row) => ({ ...row, pids: holders.get(row.inode) ?? [] }))
}

function listening(table: string): Omit<Listener, 'pids'>[] {
  const found: Omit<Listener, 'pids'>[] = []
  for (const line of (readText(`/proc/self/net/${table}`) ?? '').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/)
    const [host = '', port = ''] = fields[1]?.split(':') ?? []
    if (fields[3] !== LISTEN || !fields[9]) continue
    found.push({ port: Number.parseInt(port, 16), address: addressOf(host), uid: Number(fields[7]), inode: fields[9] })
  }
  return found
}

/** `0100007F` is 127.0.0.1: groups of 32 bits in the order of the host, little-endian wherever Node runs on Linux but s390x. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((group) => [...Buffer.from(group, 'hex').reverse()])
  if (bytes.length === 4) return bytes.join('.')
  const words = (Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? []).map((word) => word.replace(/^0{1,3}/, ''))
  return words.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')
}

/** A Unix socket that waits for connections. */
export interface UnixListener {
  /** Under which it was bound. */
  path: string
  /** As of {@link Listener}. */
  pids: number[]
}

/** `Flags` of a listening socket in `/proc/net/unix`: SO_ACCEPTCON, `__SO_ACCEPTCON` in `include/uapi/linux/net.h`. */
const ACCEPTS = '00010000'

/** Unix sockets that listen, those whose path is wanted; with a look at the descriptors of all processes when there are any. */
export function unixListeners(wanted: (path: string) => boolean): UnixListener[] {
  const found = new Map<string, string>()
  for (const line of (readText('/proc/self/net/unix') ?? '').split('\n').slice(1)) {
    const [, , , flags, , , inode, ...path] = line.trim().split(' ').filter(Boolean)
    if (flags === ACCEPTS && inode !== undefined && wanted(path.join(' '))) found.set(inode, path.join(' '))
  }
  if (found.size === 0) return []
  const holders = holdersByInode(new Set(found.keys()))
  return [...found].map(([inode, path]) => ({ path, pids: holders.get(inode) ?? [] }))
}

function holdersByInode(inodes: ReadonlySet<string>): Map<string, number[]> {
  const deadline = monotonic() + SEARCH_MS
  const holders = new Map<string, number[]>()
  for (const pid of listPids()) {
    if (monotonic() > deadline) break
    const mine = new Set<string>()
    for (const fd of listDirectory(`/proc/${pid}/fd`) ?? []) {
      const inode = socketInode(linkTarget(`/proc/${pid}/fd/${fd}`) ?? '')
      if (inode !== undefined && inodes.has(inode)) mine.add(inode)
    }
    for (const inode of mine) holders.set(inode, [...(holders.get(inode) ?? []), pid])
  }
  return holders
}
