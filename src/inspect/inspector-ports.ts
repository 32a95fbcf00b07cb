/**
 * Which of its ports a process may have an inspector at, and who is connected to it, from `/proc`. A program's own
 * servers are not asked: a stray request could mean something to them.
 */
import { descriptorTarget, openDescriptors, socketInode } from '../process/descriptors.ts'
import { available, readText, threadsOf } from '../process/procfs.ts'
import { syscallName } from '../process/syscalls.ts'

const LISTEN = '0A'
const ESTABLISHED = '01'
/** `127.0.0.1` and every address, as `/proc/net/tcp` writes them. */
const LOCAL = new Set(['0100007F', '00000000'])

/** A TCP socket of a process. */
interface TcpSocket {
  fd: number
  state: string
  address: string
  port: number
}

/**
 * Ports at which the inspector of a process may listen; undefined where `/proc` does not say.
 *
 * From Node 24 on the inspector's thread is named `InspectorIo`, and the sockets that it polls are the ones. Before that,
 * these are all that the main thread does not poll itself.
 */
export function inspectorPorts(pid: number): number[] | undefined {
  const sockets = socketsOf(pid)?.filter(({ state, address }) => state === LISTEN && LOCAL.has(address))
  if (sockets === undefined || sockets.length === 0) return sockets && []
  const threads = threadsOf(pid).map((tid) => ({ tid, name: nameOf(pid, tid) }))
  const named = threads.some(({ name }) => name === 'SignalInspector')
  const inspector = threads.find(({ name }) => name === 'InspectorIo')
  if (named && inspector === undefined) return []
  const polled = inspector && polledBy(pid, inspector.tid)
  if (polled !== undefined) return sockets.filter(({ fd }) => polled.has(fd)).map(({ port }) => port)
  const own = polledBy(pid, pid) ?? watchedBy(pid, mainLoop(pid))
  return sockets.filter(({ fd }) => !own.has(fd)).map(({ port }) => port)
}

/** How many clients are connected to a port of a process; undefined where `/proc` does not say. */
export function clientsAt(pid: number, port: number): number | undefined {
  return socketsOf(pid)?.filter((one) => one.state === ESTABLISHED && one.port === port).length
}

/** TCP sockets of a process; undefined where its descriptors may not be read. */
function socketsOf(pid: number): TcpSocket[] | undefined {
  if (!available()) return undefined
  const descriptors = openDescriptors(pid)
  const table = readText(`/proc/${pid}/net/tcp`)
  if (descriptors.length === 0 || table === undefined) return undefined
  const byInode = new Map<string, number>()
  for (const fd of descriptors) {
    const inode = socketInode(descriptorTarget(pid, fd) ?? '')
    if (inode !== undefined) byInode.set(inode, fd)
  }
  return table.split('\n').flatMap((line) => {
    // sl local_address rem_address st ... inode (proc_pid_net(5)).
    const fields = line.trim().split(/\s+/)
    const [address = '', port = ''] = (fields[1] ?? '').split(':')
    const fd = byInode.get(fields[9] ?? '')
    return fd === undefined ? [] : [{ fd, state: fields[3] ?? '', address, port: Number.parseInt(port, 16) }]
  })
}

function nameOf(pid: number, tid: number): string {
  return readText(`/proc/${pid}/task/${tid}/comm`)?.trim() ?? ''
}

/** Descriptors that a thread waits at in an epoll; undefined when it does not wait in one. */
function polledBy(pid: number, tid: number): Set<number> | undefined {
  const [number, first] = (readText(`/proc/${pid}/task/${tid}/syscall`) ?? '').split(' ')
  return syscallName(Number(number))?.startsWith('epoll') ? watchedBy(pid, Number(first)) : undefined
}

/** The third epoll is that of the main loop, in Node 22, 24 and 26. */
function mainLoop(pid: number): number {
  return openDescriptors(pid).filter((fd) => descriptorTarget(pid, fd) === 'anon_inode:[eventpoll]')[2] ?? -1
}

function watchedBy(pid: number, epoll: number): Set<number> {
  const info = readText(`/proc/${pid}/fdinfo/${epoll}`) ?? ''
  return new Set([...info.matchAll(/^tfd:\s*(\d+)/gm)].map(([, fd]) => Number(fd)))
}
