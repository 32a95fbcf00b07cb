/**
 * How the inspector of a forked worker is opened from outside while its JavaScript runs. In a process that was started anew
 * SIGUSR1 does that, by way of a thread which a fork does not copy. Here a thread of the C library waits for a byte in a pipe
 * (aio_read(3) with SIGEV_THREAD), and then has V8 interrupt the main thread at its next loop or call, also in `for (;;) {}`
 * (`Isolate::RequestInterrupt`, which any thread may call). What the thread can call is a function with one argument; so it
 * reads a stream (`fgetc`) whose read function (fopencookie(3)) is the one of V8: it gets the isolate as its cookie, and
 * the address of the callback as its buffer.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import inspector from 'node:inspector'
import { WAKE_THREAD } from '../../../src/inspect/kernel-wait.ts'
import { openLibrary } from '../../../src/process/native.ts'
import type { OpenPath } from '../../../src/spawn/zygote/protocol.ts'

const THREADS = '/proc/self/task'
const SIGEV_THREAD = 2
const IOFBF = 0
/** Of `struct aiocb`, with room; the fields that are set lie at the same places in glibc and musl, on 64 bits. */
const AIOCB_BYTES = 256
const AT = { descriptor: 0, buffer: 16, bytes: 24, value: 32, notify: 44, function: 48 } as const

const ISOLATE = '_ZN2v87Isolate10GetCurrentEv'
const REQUEST = '_ZN2v87Isolate16RequestInterruptEPFvPS0_PvES2_'

/** Starts the thread that waits. @throws Error when it cannot be started */
export type Arm = (wake: OpenPath) => void

/** What the thread works with lives as long as the process. */
const kept: unknown[] = []

/**
 * Prepares all of it but the thread, before the fork.
 *
 * @returns what starts the thread in a child, or why there is none
 */
export function prepareWake(): Arm | { missing: string } {
  const open = openLibrary()
  if ('missing' in open) return open
  const { library, koffi, lastError } = open
  try {
    const find = library.func('size_t dlsym(size_t handle, str name)')
    const addressOf = (name: string): bigint => {
      const address = BigInt(find(0, name))
      if (address === 0n) throw new Error(`there is no ${name}`)
      return address
    }
    const request = addressOf(REQUEST)
    const read = addressOf('fgetc')
    const isolate = library.func(`size_t ${ISOLATE}()`)()
    koffi.struct('HarrowCookie', { read: 'size_t', write: 'size_t', seek: 'size_t', close: 'size_t' })
    const fopencookie = library.func('size_t fopencookie(size_t cookie, str mode, HarrowCookie functions)')
    const setvbuf = library.func('int setvbuf(size_t stream, size_t buffer, int mode, size_t bytes)')
    const aioRead = library.func('int aio_read(void *control)')

    let fd = -1
    const arm = (): void => {
      const stream = BigInt(fopencookie(isolate, 'r', { read: request, write: 0, seek: 0, close: 0 }))
      if (stream === 0n || setvbuf(stream, callback, IOFBF, 16) !== 0) throw new Error(`no stream: ${lastError()}`)
      const byte = Buffer.alloc(8)
      const control = Buffer.alloc(AIOCB_BYTES)
      control.writeInt32LE(fd, AT.descriptor)
      control.writeBigUInt64LE(koffi.address(byte), AT.buffer)
      control.writeBigUInt64LE(1n, AT.bytes)
      control.writeBigUInt64LE(stream, AT.value)
      control.writeInt32LE(SIGEV_THREAD, AT.notify)
      control.writeBigUInt64LE(read, AT.function)
      kept.push(byte, control)
      const before = new Set(readdirSync(THREADS))
      if (aioRead(control) !== 0) throw new Error(`no thread: ${lastError()}`)
      for (const thread of readdirSync(THREADS)) if (!before.has(thread)) nameThread(thread)
    }
    // Runs in the midst of whatever the main thread does.
    const interrupted = koffi.register(
      () => {
        try {
          if (inspector.url() === undefined) inspector.open(0, '127.0.0.1')
          arm()
        } catch {
          // Whoever waits for the inspector gives up after its limit.
        }
      },
      koffi.pointer(koffi.proto('void harrow_interrupted(size_t isolate, size_t data)')),
    )
    kept.push(interrupted)
    const callback = koffi.address(interrupted)
    return (wake) => {
      fd = openIn(wake)
      arm()
    }
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) }
  }
}

/** Dumps leave out what has this name. */
function nameThread(thread: string): void {
  try {
    writeFileSync(`${THREADS}/${thread}/comm`, WAKE_THREAD)
  } catch {
    // It is only a name.
  }
}

function openIn({ path, inode }: OpenPath): number {
  const fd = openSync(path, constants.O_RDONLY)
  if (fstatSync(fd).ino === inode) return fd
  closeSync(fd)
  throw new Error(`${path} is another pipe by now`)
}
