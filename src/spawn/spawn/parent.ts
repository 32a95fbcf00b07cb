/** `spawn`: a fresh Node process whose link to its parent is a socket that it dials; see {@link file://./entry.ts}. */
import { spawn } from 'node:child_process'
import type { ActorHandle, Backend, SpawnRequest } from '../backend.ts'
import { entryPath } from '../entry-path.ts'
import { withCompileCache } from '../env.ts'
import { isGuard, launch } from '../launcher.ts'
import { checkBag, isPolicy, isText } from '../options.ts'
import { ProcessHandle } from '../process-handle.ts'

export const backend: Backend = {
  method: 'spawn',
  ownProcess: true,
  dialsBack: true,

  available: () => true,

  selfTest: async () => true,

  checkOptions: (options) =>
    checkBag('spawn', options, { execPath: isText, cwd: isText, guard: isGuard, onParentLost: isPolicy }),

  spawn(request: SpawnRequest): ActorHandle {
    const { aid, parentAddr, execArgv, env, options } = request
    const { file, args, marks } = launch(options)
    return new ProcessHandle('spawn', request, (stdout, stderr) =>
      spawn(
        file,
        [
          ...args,
          ...execArgv,
          entryPath('spawn'),
          `--harrow-actor=${aid.name}@${aid.uuid}`,
          `--harrow-parent=${parentAddr}`,
          ...marks,
        ],
        {
          // A session of its own: Ctrl-C at a terminal reaches the root only.
          detached: true,
          env: withCompileCache(env),
          stdio: ['ignore', stdout, stderr],
          ...(options.cwd !== undefined && { cwd: options.cwd as string }),
        },
      ),
    )
  },
}
