/** A connection that is there at once: Node's own comes a turn of the loop later, and in an object of its own. */
import { closeSync } from 'node:fs'
import { openLibrary } from '../../../src/process/native.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
/** Of `struct sockaddr_un`: the family, and the path with its end. */
const ADDRESS_BYTES = 110

/** Binds the calls. @throws Error without koffi */
export function loadConnect(): (path: string) => number {
  const open = openLibrary()
  if ('missing' in open) throw new Error(open.missing)
  const { library, lastError } = open
  const socket = library.func('int socket(int domain, int type, int protocol)')
  const connect = library.func('int connect(int fd, void *address, uint32_t length)')
  return (path) => {
    const address = Buffer.alloc(ADDRESS_BYTES)
    address.writeUInt16LE(AF_UNIX, 0)
    if (address.write(path, 2) >= ADDRESS_BYTES - 2) throw new Error(`the path of the socket is too long: ${path}`)
    const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
    if (fd < 0) throw new Error(`no socket: ${lastError()}`)
    if (connect(fd, address, ADDRESS_BYTES) === 0) return fd
    const why = lastError()
    closeSync(fd)
    throw new Error(`cannot connect to ${path}: ${why}`)
  }
}
