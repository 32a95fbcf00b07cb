/**
 * `fork`: `child_process.fork`, which is no fork(2) but a fresh process with a channel; that channel is the link. See
 * {@link file://./entry.ts}.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { NodeIpcTransport } from '../../wire/transports/node-ipc.ts'
import type { ActorHandle, Backend, SpawnRequest } from '../backend.ts'
import { entryPath } from '../entry-path.ts'
import { withCompileCache } from '../env.ts'
import { checkBag, isPolicy, isText } from '../options.ts'
import { ProcessHandle } from '../process-handle.ts'

export const backend: Backend = {
  method: 'fork',
  ownProcess: true,
  dialsBack: false,

  available: () => true,

  selfTest: async () => true,

  checkOptions: (options) => checkBag('fork', options, { execPath: isText, cwd: isText, onParentLost: isPolicy }),

  spawn(request: SpawnRequest): ActorHandle {
    const { aid, execArgv, env, options } = request
    let started: ChildProcess | undefined
    const handle = new ProcessHandle('fork', request, (stdout, stderr) => {
      started = fork(
        entryPath('fork'),
        [`--harrow-actor=${aid.name}@${aid.uuid}`, ...(options.onParentLost === 'stay' ? ['--harrow-stay'] : [])],
        {
          detached: true,
          env: withCompileCache(env),
          execArgv: [...execArgv],
          execPath: (options.execPath as string | undefined) ?? process.execPath,
          serialization: 'advanced',
          stdio: ['ignore', stdout, stderr, 'ipc'],
          ...(options.cwd !== undefined && { cwd: options.cwd as string }),
        },
      )
      return started
    })
    if (started) handle.link = new NodeIpcTransport(started, `actor ${aid.name}, ${handle.id}`)
    return handle
  },
}
