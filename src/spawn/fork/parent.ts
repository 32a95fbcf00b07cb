/**
 * `fork`: `child_process.fork`, which is no fork(2) but a fresh process with a channel. The link is a pair of sockets of which the
 * child inherits one: there is nothing to dial. Node's own channel carries nothing, for it passes half of what a
 * socket does (DESIGN.md section 8). See {@link file://./entry.ts}.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import { SocketTransport } from '../../wire/transports/socket.ts'
import type { ActorHandle, Backend, SpawnRequest } from '../backend.ts'
import { entryPath } from '../entry-path.ts'
import { withCompileCache } from '../env.ts'
import { isGuard, launch } from '../launcher.ts'
import { checkBag, isPolicy, isText } from '../options.ts'
import { ProcessHandle } from '../process-handle.ts'
import { LINK_FD } from './link-fd.ts'

export const backend: Backend = {
  method: 'fork',
  ownProcess: true,
  dialsBack: false,

  available: () => true,

  selfTest: async () => true,

  checkOptions: (options) =>
    checkBag('fork', options, { execPath: isText, cwd: isText, guard: isGuard, onParentLost: isPolicy }),

  spawn(request: SpawnRequest): ActorHandle {
    const { aid, execArgv, env, options } = request
    const { file, args, marks } = launch(options)
    let started: ChildProcess | undefined
    const handle = new ProcessHandle('fork', request, (stdout, stderr) => {
      started = fork(entryPath('fork'), [`--harrow-actor=${aid.name}@${aid.uuid}`, ...marks], {
        detached: true,
        env: withCompileCache(env),
        execArgv: [...args, ...execArgv],
        execPath: file,
        stdio: ['ignore', stdout, stderr, 'ipc', 'pipe'],
        ...(options.cwd !== undefined && { cwd: options.cwd as string }),
      })
      return started
    })
    if (started?.pid !== undefined) handle.link = linkTo(started, `actor ${aid.name}, ${handle.id}`)
    return handle
  },
}

function linkTo(child: ChildProcess, peer: string): SocketTransport {
  const socket = child.stdio[LINK_FD] as Socket
  // Node keeps what nobody listens to; the link alone says whether the event loop stays alive for it.
  child.on('message', () => {})
  child.channel?.unref()
  // The channel of Node ends with the link, and is not left to the collector.
  socket.once('close', () => {
    if (child.connected) child.disconnect()
  })
  return new SocketTransport(socket, 'uds', peer)
}
