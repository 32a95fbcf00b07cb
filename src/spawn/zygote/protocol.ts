/** What a zygote and those who ask it for children say to each other: one JSON text a line. */
import type { Socket } from 'node:net'

/** A file, pipe or terminal that the child opens by its path, and the inode by which it knows that it is the right one. */
export interface OpenPath {
  path: string
  /** Of pipes: a descriptor's number may mean another pipe by the time the child looks. */
  inode?: number
}

/** What a child is to be. */
export interface Order {
  /** For the life that the child leads, see `Life`; the zygote does not look at it. */
  task: unknown
  env: Record<string, string>
  cwd: string
  umask: number
  stdout: OpenPath
  stderr: OpenPath
  /** Pipe that only the child holds for writing: it tells of its birth and its exit code there, and its end is the child's. */
  life: OpenPath
  /** It outlives whoever ordered it. */
  stay: boolean
}

export type Request = { type: 'fork'; id: number; order: Order }

export type Reply =
  | { type: 'ready'; path: string; pid: number }
  /** It cannot start: a module of the warm list fails. */
  | { type: 'failed'; why: string }
  | { type: 'born'; id: number; pid: number }
  | { type: 'refused'; id: number; why: string }
  | { type: 'exit'; id: number; code: number | null; signal: number | null }

/** First letter of what a child writes to its life pipe. */
export const LIFE = {
  /** It is up, and what follows is its own. */
  up: 'h',
  /** It cannot be what was ordered: the reason follows as JSON. */
  wrong: 'e',
  /** It ends with this exit code. */
  exit: 'x',
} as const

export function say(socket: Socket, message: Request | Reply | Order): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`)
}

/** Calls `take` for each message. */
export function onMessages<T extends Request | Reply | Order>(socket: Socket, take: (message: T) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    rest += text
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(JSON.parse(line) as T)
  })
}

/** Environment variable by which the address of the zygote is handed down; see {@link file://./client.ts}. */
export const ZYGOTE_ENV = 'HARROW_ZYGOTE'
/** `off`: the zygote forks no child ahead. */
export const SPARE_ENV = 'HARROW_SPARE'
/** Takes up room in a zygote's environment, in which its children write their own. */
export const ROOM_ENV = 'HARROW_ROOM'
/**
 * Added to the Node flags of a zygote. The second is for its children: V8 collects an idle heap some 8 s after it was last used
 * and again after that (its memory reducer), in each of them alike: 130 ms of CPU, and marks in pages that were shared until then.
 */
export const ZYGOTE_FLAGS: readonly string[] = ['--single-threaded', '--no-memory-reducer']
/** Of actors: an actor would else collect its young generation while it starts (up to 2.8 ms), since the zygote has used most of it. */
export const ACTOR_ZYGOTE_FLAGS: readonly string[] = [...ZYGOTE_FLAGS, '--min-semi-space-size=8']
