// node vfork.mjs <fifo> <mark>: starts a process in the way that makes the parent sleep uninterruptibly until the child has
// become another program, which it does not: first it opens a FIFO without a peer.
import koffi from 'koffi'

const [, , fifo, mark] = process.argv
const lib = koffi.load(null)
const actions = Buffer.alloc(256)
lib.func('int posix_spawn_file_actions_init(void *actions)')(actions)
lib.func('int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, uint mode)')(
  actions,
  5,
  fifo,
  0,
  0,
)
const spawn = lib.func(
  'int posix_spawn(void *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
)
spawn(Buffer.alloc(4), '/bin/sh', actions, null, ['sh', '-c', `: ${mark}`, null], [null])
