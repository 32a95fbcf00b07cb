/** libuv's threadpool as the kernel sees it: what its threads are in, and whether further work has to wait. */
import { describeSocket, descriptorTarget, openDescriptors, socketInode } from '../process/descriptors.ts'
import { readStat, readText, threadsOf } from '../process/procfs.ts'
import { syscallName } from '../process/syscalls.ts'

/** The server that a process asks for names, as far as a UDP or TCP socket to port 53 is open: `127.0.0.1:53`. */
export function dnsServer(pid: number): string | undefined {
  for (const fd of openDescriptors(pid)) {
    const inode = socketInode(descriptorTarget(pid, fd) ?? '')
    const words = inode === undefined ? '' : describeSocket(pid, inode)
    const server = /^(?:UDP to|TCP [A-Z_]+ to) (.*:53)$/.exec(words)?.[1]
    if (server !== undefined) return server
  }
  return undefined
}

type Work = 'dns' | 'fs' | 'cpu'

const WORK_WORDS: Record<Work, string> = {
  dns: 'in name lookups (getaddrinfo)',
  fs: 'in file system calls',
  cpu: 'computing (crypto, zlib and the like)',
}
const WORK: readonly Work[] = ['dns', 'fs', 'cpu']
const LOOKUP_CALLS = /^(?:p?poll|recvfrom|recvmsg|recvmmsg|sendto|sendmmsg|connect)$/

/**
 * Sentences about a threadpool that is used up, or about its share for name lookups (half of its threads, at least one:
 * `uv__work_submit` in libuv's src/threadpool.c) that is.
 *
 * @param sentence words about one thread, without its name
 */
export function threadpool(pid: number, sentence: (tid: number) => string | undefined): string[] {
  const workers = threadsOf(pid).filter((tid) => readStat(pid, tid)?.comm.startsWith('libuv-worker'))
  const busy = workers.flatMap((tid) => {
    const work = workOf(pid, tid)
    return work === undefined ? [] : [{ tid, work }]
  })
  if (workers.length === 0 || busy.length === 0) return []
  const by = (work: Work) => busy.filter((one) => one.work === work)
  const groups = WORK.filter((work) => by(work).length > 0).map((work) => {
    const tids = by(work).map(({ tid }) => tid)
    const words = work === 'cpu' ? undefined : sentence(tids[0]!)
    return `${tids.length} ${WORK_WORDS[work]}${words === undefined ? '' : `, of which one is ${words}`}`
  })
  if (busy.length === workers.length) {
    return [
      `threadpool is used up: all ${workers.length} libuv workers are busy (${groups.join('; ')}), so fs, dns, crypto and zlib work waits`,
    ]
  }
  const lookups = by('dns').length
  if (lookups < Math.max(1, Math.floor((workers.length + 1) / 2))) return []
  const server = dnsServer(pid)
  return [
    `the threadpool's share for name lookups is used up: ${lookups} of ${workers.length} libuv workers wait for ${server === undefined ? 'a DNS server' : `the DNS server ${server}`}, so further lookups wait; other work goes on`,
  ]
}

function workOf(pid: number, tid: number): Work | undefined {
  const call = readText(`/proc/${pid}/task/${tid}/syscall`)?.trim().split(' ')[0]
  if (call === undefined || call === '') return undefined
  if (call === 'running' || call === '-1') return 'cpu'
  const name = syscallName(Number(call))
  if (name?.startsWith('futex')) return undefined
  return name !== undefined && LOOKUP_CALLS.test(name) && dnsServer(pid) !== undefined ? 'dns' : 'fs'
}
