/** Where a forked child's output goes, as paths that it opens itself; descriptors cannot be handed to it. */
import { fstatSync } from 'node:fs'
import type { ActorOutput } from '../backend.ts'
import type { OutputTail } from '../output.ts'
import { makePipe } from './life-pipe.ts'
import type { OpenPath } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

export interface Output {
  stdout: OpenPath
  stderr: OpenPath
  /** The child has opened them, or never will. */
  letGo(): void
}

export function openOutput(calls: ForkCalls, output: ActorOutput, tail: OutputTail): Output {
  if (output.mode === 'file') {
    const file = { path: output.path }
    return { stdout: file, stderr: file, letGo() {} }
  }
  const [out, err] = ([1, 2] as const).map((fd) => {
    const name = fd === 1 ? 'stdout' : 'stderr'
    if (output.mode === 'inherit' && !isSocket(fd)) {
      return { path: { path: `/proc/${process.pid}/fd/${fd}`, ...inode(fd) }, letGo() {} }
    }
    const pipe = makePipe(calls)
    if (output.mode === 'pipe') tail.drain(pipe.stream, name)
    // A socket cannot be opened by its path: what comes is passed on.
    else pipe.stream.on('data', (data) => process[name].write(data))
    pipe.stream.unref()
    return { path: pipe.out, letGo: () => pipe.letGo() }
  }) as [{ path: OpenPath; letGo(): void }, { path: OpenPath; letGo(): void }]
  return {
    stdout: out.path,
    stderr: err.path,
    letGo() {
      out.letGo()
      err.letGo()
    },
  }
}

function isSocket(fd: number): boolean {
  return fstatSync(fd).isSocket()
}

/** A terminal has another inode when it is opened by this path; a pipe and a file have the same. */
function inode(fd: number): { inode?: number } {
  const stat = fstatSync(fd)
  return stat.isFIFO() ? { inode: stat.ino } : {}
}
