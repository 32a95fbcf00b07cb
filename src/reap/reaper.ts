/**
 * Second half of the sidecar, a program of its own: runs when the main process is gone, ends what that left, and says in
 * `<id>.reaped.json` what it did. Its argument is the path of the session file.
 */
import { pause } from '../process/clean.ts'
import { isRunning } from '../process/identity.ts'
import { loadNative } from '../process/native.ts'
import { reapSession, recoverSessions, writeResult } from './recover.ts'
import { mainOf, readState, type SessionState } from './state.ts'

for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM', 'SIGQUIT', 'SIGPIPE'] as const) process.on(signal, () => {})

const [, , path = ''] = process.argv
const state = await whenAbandoned(path)
if (state) {
  // So that signals go through process descriptors.
  loadNative()
  writeResult(state, await reapSession(state))
  // A run inside this one (a command below `harrow exec`, a nested vitest) was ended together with its own sidecar: its files
  // and its temporary folder are left.
  await recoverSessions({ stateDir: state.folder, root: '' })
}

/**
 * Waits until the main process is gone: its descriptors are closed some time before it is, and somebody may have closed
 * the pipe of one that goes on. Ends as well when the session file is removed.
 */
async function whenAbandoned(path: string): Promise<SessionState | undefined> {
  for (let step = 2; ; step = Math.min(step * 2, 250)) {
    const state = readState(path)
    if (!state || !isRunning(mainOf(state))) return state
    await pause(step)
  }
}
