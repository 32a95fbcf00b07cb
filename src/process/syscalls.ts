/**
 * System calls in which a thread can wait, by number. Sources: Linux' `arch/x86/entry/syscalls/syscall_64.tbl` and
 * `include/uapi/asm-generic/unistd.h` (arm64). Numbers from 403 on are the same everywhere.
 */

const SHARED: Record<number, string> = {
  426: 'io_uring_enter',
  435: 'clone3',
  437: 'openat2',
  441: 'epoll_pwait2',
  449: 'futex_waitv',
  455: 'futex_wait',
}

// biome-ignore format: a table
const X64: Record<number, string> = {
  0: 'read', 1: 'write', 2: 'open', 3: 'close', 4: 'stat', 5: 'fstat', 6: 'lstat', 7: 'poll', 9: 'mmap', 11: 'munmap',
  12: 'brk', 16: 'ioctl', 17: 'pread64', 18: 'pwrite64', 19: 'readv', 20: 'writev', 21: 'access', 23: 'select',
  26: 'msync', 28: 'madvise', 34: 'pause', 35: 'nanosleep', 40: 'sendfile', 42: 'connect', 43: 'accept', 44: 'sendto',
  45: 'recvfrom', 46: 'sendmsg', 47: 'recvmsg', 56: 'clone', 57: 'fork', 58: 'vfork', 59: 'execve', 60: 'exit',
  61: 'wait4', 65: 'semop', 70: 'msgrcv', 72: 'fcntl', 73: 'flock', 74: 'fsync', 75: 'fdatasync', 82: 'rename',
  83: 'mkdir', 87: 'unlink', 89: 'readlink', 128: 'rt_sigtimedwait', 130: 'rt_sigsuspend', 162: 'sync', 202: 'futex',
  217: 'getdents64', 219: 'restart_syscall', 220: 'semtimedop', 230: 'clock_nanosleep', 231: 'exit_group',
  232: 'epoll_wait', 247: 'waitid', 257: 'openat', 262: 'newfstatat', 270: 'pselect6', 271: 'ppoll', 275: 'splice',
  276: 'tee', 278: 'vmsplice', 281: 'epoll_pwait', 288: 'accept4', 295: 'preadv', 296: 'pwritev', 299: 'recvmmsg',
  306: 'syncfs', 318: 'getrandom', 326: 'copy_file_range', 332: 'statx', ...SHARED,
}

// biome-ignore format: a table
const ARM64: Record<number, string> = {
  22: 'epoll_pwait', 25: 'fcntl', 29: 'ioctl', 32: 'flock', 34: 'mkdirat', 35: 'unlinkat', 38: 'renameat',
  48: 'faccessat', 56: 'openat', 57: 'close', 61: 'getdents64', 63: 'read', 64: 'write', 65: 'readv', 66: 'writev',
  67: 'pread64', 68: 'pwrite64', 69: 'preadv', 70: 'pwritev', 71: 'sendfile', 72: 'pselect6', 73: 'ppoll',
  75: 'vmsplice', 76: 'splice', 77: 'tee', 78: 'readlinkat', 79: 'newfstatat', 80: 'fstat', 81: 'sync', 82: 'fsync',
  83: 'fdatasync', 93: 'exit', 94: 'exit_group', 95: 'waitid', 98: 'futex', 101: 'nanosleep', 115: 'clock_nanosleep',
  128: 'restart_syscall', 133: 'rt_sigsuspend', 137: 'rt_sigtimedwait', 188: 'msgrcv', 192: 'semtimedop', 193: 'semop',
  202: 'accept', 203: 'connect', 206: 'sendto', 207: 'recvfrom', 211: 'sendmsg', 212: 'recvmsg', 214: 'brk',
  215: 'munmap', 220: 'clone', 221: 'execve', 222: 'mmap', 227: 'msync', 233: 'madvise', 242: 'accept4',
  243: 'recvmmsg', 260: 'wait4', 267: 'syncfs', 278: 'getrandom', 285: 'copy_file_range', 291: 'statx', ...SHARED,
}

const TABLES: Record<string, Record<number, string>> = { x64: X64, arm64: ARM64 }

/**
 * Name of a system call by its number.
 *
 * @param architecture as in `process.arch`; for another one than x64 and arm64 nothing is known
 */
export function syscallName(number: number, architecture: string = process.arch): string | undefined {
  return TABLES[architecture]?.[number]
}

/** Calls whose first argument is the file descriptor that they wait on. */
export const CALLS_ON_DESCRIPTOR: ReadonlySet<string> = new Set(
  (
    'read write pread64 pwrite64 readv writev preadv pwritev connect accept accept4 sendto recvfrom sendmsg recvmsg ' +
    'recvmmsg fcntl flock fsync fdatasync syncfs ioctl splice tee vmsplice getdents64 close fstat'
  ).split(' '),
)
