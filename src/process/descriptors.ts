/** What a file descriptor of a process is, in words, and who holds the other end. Linux; races read as "unknown". */
import { closeSync, monotonic, openSync, readSync, statSync } from './clean.ts'
import { childrenOf, linkTarget, listDirectory, listPids, readStat, readText } from './procfs.ts'
import { commandOf } from './tree.ts'

/** A look at the descriptors of all processes stops after this time. */
const HOLDER_SEARCH_MS = 60

const STATE_WORDS: Record<string, string> = {
  R: 'running',
  S: 'sleeping',
  D: 'in uninterruptible sleep',
  Z: 'a zombie',
  T: 'stopped by a signal',
  t: 'stopped by a tracer',
  I: 'idle',
  X: 'dead',
}

/** State letter of `/proc/pid/stat` in words that follow "is". */
export function stateWords(state: string): string {
  return STATE_WORDS[state] ?? `in state ${state}`
}

/** `12 \`sleep 100\`` */
export function processWords(pid: number, length = 60): string {
  return `${pid} \`${commandOf(pid, length)}\``
}

/** Numbers of the open descriptors of a process, ascending. */
export function openDescriptors(pid: number): number[] {
  return (listDirectory(`/proc/${pid}/fd`) ?? []).map(Number).sort((a, b) => a - b)
}

/** What `/proc/pid/fd/n` points to. */
export function descriptorTarget(pid: number, fd: number): string | undefined {
  return linkTarget(`/proc/${pid}/fd/${fd}`)
}

/** A descriptor in words: `fd 20 (FIFO /tmp/queue)`, `fd 1 (pipe; reader 12 \`cat\` is stopped by a signal)`. */
export function describeDescriptor(pid: number, fd: number): string {
  const target = descriptorTarget(pid, fd)
  if (target === undefined) return `fd ${fd}`
  if (target.startsWith('pipe:')) return `fd ${fd} (pipe; ${otherEnds(pid, fd, target)})`
  const inode = socketInode(target)
  if (inode !== undefined) return `fd ${fd} (${describeSocket(pid, inode)})`
  if (isFifo(`/proc/${pid}/fd/${fd}`)) return `fd ${fd} (FIFO ${target}; ${otherEnds(pid, fd, target)})`
  return `fd ${fd} (${target})`
}

/** Is this path a FIFO? Follows links; false when it cannot be looked at. */
export function isFifo(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFIFO() ?? false
  } catch {
    return false
  }
}

/** Inode of `socket:[123]`. */
export function socketInode(target: string): string | undefined {
  return /^socket:\[(\d+)\]$/.exec(target)?.[1]
}

interface Holder {
  pid: number
  fd: number
}

/** `complete` is false when the time was over before all were looked at, or one could not be looked into. */
interface Holders {
  found: Holder[]
  complete: boolean
}

/** Processes other than `except` that have one of `targets` open, as far as they can be seen within 60 ms. */
export function holdersOf(targets: ReadonlySet<string>, except: number, pids: Iterable<number>): Holders {
  const deadline = monotonic() + HOLDER_SEARCH_MS
  const found: Holder[] = []
  let complete = true
  for (const pid of pids) {
    if (pid === except) continue
    if (monotonic() > deadline) return { found, complete: false }
    const names = listDirectory(`/proc/${pid}/fd`)
    if (names === undefined) complete = false
    for (const name of names ?? []) {
      const target = linkTarget(`/proc/${pid}/fd/${name}`)
      if (target !== undefined && targets.has(target)) found.push({ pid, fd: Number(name) })
    }
  }
  return { found, complete }
}

/** All processes, those first that are likely to share descriptors: relatives, then the youngest. */
export function likelyFirst(pid: number): Set<number> {
  return new Set([...family(pid), ...listPids().reverse()])
}

function otherEnds(pid: number, fd: number, target: string): string {
  const mine = accessMode(pid, fd)
  const words = new Set<string>()
  const { found, complete } = holdersOf(new Set([target]), pid, likelyFirst(pid))
  for (const holder of found) {
    const mode = accessMode(holder.pid, holder.fd)
    if (mode === mine && mode !== 'reader and writer') continue
    words.add(`${mode ?? 'other end'} ${holderWords(holder.pid)}`)
    if (words.size === 3) break
  }
  if (words.size > 0) return [...words].join(', ')
  return complete ? 'nobody has it open at the other end' : 'who holds the other end could not be seen'
}

function holderWords(pid: number): string {
  return `${processWords(pid, 40)} is ${stateWords(readStat(pid)?.state ?? '?')}`
}

function accessMode(pid: number, fd: number): string | undefined {
  const flags = /^flags:\s*([0-7]+)/m.exec(readText(`/proc/${pid}/fdinfo/${fd}`) ?? '')?.[1]
  if (flags === undefined) return undefined
  return ['reader', 'writer', 'reader and writer'][Number.parseInt(flags, 8) & 3]
}

/** A socket in words; for an unnamed unix socket the likely holder of the other end, when it is a relative. */
export function describeSocket(pid: number, inode: string): string {
  return tcpWords(pid, inode) ?? udpWords(pid, inode) ?? unixWords(pid, inode) ?? `socket ${inode}`
}

const TCP_STATES: Record<string, string> = {
  '01': 'ESTABLISHED',
  '02': 'SYN_SENT',
  '03': 'SYN_RECV',
  '04': 'FIN_WAIT1',
  '05': 'FIN_WAIT2',
  '06': 'TIME_WAIT',
  '07': 'CLOSE',
  '08': 'CLOSE_WAIT',
  '09': 'LAST_ACK',
  '0A': 'LISTEN',
  '0B': 'CLOSING',
}

function netRow(pid: number, table: string, column: number, inode: string): string[] | undefined {
  for (const line of (readText(`/proc/${pid}/net/${table}`) ?? '').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/)
    if (fields[column] === inode) return fields
  }
  return undefined
}

function tcpWords(pid: number, inode: string): string | undefined {
  const row = netRow(pid, 'tcp', 9, inode) ?? netRow(pid, 'tcp6', 9, inode)
  if (!row) return undefined
  const state = TCP_STATES[row[3] ?? ''] ?? 'in an unknown state'
  return state === 'LISTEN' ? `TCP LISTEN on ${address(row[1])}` : `TCP ${state} to ${address(row[2])}`
}

function udpWords(pid: number, inode: string): string | undefined {
  const row = netRow(pid, 'udp', 9, inode) ?? netRow(pid, 'udp6', 9, inode)
  return row && `UDP to ${address(row[2])}`
}

/** `0100007F:0035` of `/proc/net` (each 32-bit group in host order, little-endian here) as `127.0.0.1:53`. */
function address(text = ''): string {
  const [host = '', port = ''] = text.split(':')
  const bytes = (host.match(/.{8}/g) ?? []).flatMap((group) =>
    (group.match(/../g) ?? []).reverse().map((byte) => Number.parseInt(byte, 16)),
  )
  const words =
    bytes.length === 4
      ? bytes.join('.')
      : `[${(Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? []).map((word) => word.replace(/^0{1,3}/, '')).join(':')}]`
  return `${words}:${Number.parseInt(port, 16)}`
}

function unixWords(pid: number, inode: string): string | undefined {
  const row = netRow(pid, 'unix', 6, inode)
  if (!row) return undefined
  const name = row[7]
  if (name) return `unix socket ${name}`
  const peer = pairedHolder(pid, inode)
  return `unix socket${peer === undefined ? '' : `; the other end is probably held by ${processWords(peer, 40)}, which is ${stateWords(readStat(peer)?.state ?? '?')}`}`
}

/**
 * Who holds the other end of a socketpair, as Node makes for `stdio: 'pipe'`. The kernel tells that through netlink only;
 * but the two ends are made one after the other and nearly always get neighbouring inodes: a good guess, no proof.
 *
 * @param among where to look; default: children, parent and siblings
 */
export function pairedHolder(pid: number, inode: string, among: Iterable<number> = family(pid)): number | undefined {
  const number = BigInt(inode)
  const neighbours = new Set([`socket:[${number - 1n}]`, `socket:[${number + 1n}]`])
  return holdersOf(neighbours, pid, among).found[0]?.pid
}

function family(pid: number): Set<number> {
  const parent = readStat(pid)?.ppid
  return new Set([...childrenOf(pid), ...(parent ? [parent, ...childrenOf(parent)] : [])])
}

/** Path that a string pointer in another process points to; needs the right to trace it, else undefined. */
export function readStringAt(pid: number, pointer: number): string | undefined {
  let fd: number
  try {
    fd = openSync(`/proc/${pid}/mem`, 'r')
  } catch {
    return undefined
  }
  try {
    const text = Buffer.alloc(4096)
    // Up to the end of the page: the next one need not be mapped.
    const length = readSync(fd, text, 0, 4096 - (pointer % 4096), pointer)
    const end = text.indexOf(0)
    return end > 0 && end < length ? text.toString('utf8', 0, end) : undefined
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
}
