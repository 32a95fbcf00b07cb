/**
 * The process that survives the main one: a shell that waits on a pipe of which only the main process holds the other
 * end. It reads `bye` when all is done, or the end of the pipe when the main process is gone, however it died.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { identify, type ProcessIdentity } from '../process/identity.ts'

const BYE = 'bye'

// The shell stays while the reaper runs: it ignores the signals that end a terminal or a job, while Node resets them when
// it starts and could be ended before it listens. It is started again when something ended it.
const STUB = `
trap '' INT HUP TERM QUIT PIPE
read -r word
[ "$word" = ${BYE} ] && exit 0
for attempt in 1 2 3; do "$@" && exit 0; done
exit 1`

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const REAPER = fileURLToPath(new URL(`./reaper${extension}`, import.meta.url))

/** A sidecar that runs. */
export interface Sidecar {
  readonly id: ProcessIdentity
  /** Lets it go: nothing is left to do. */
  bye(): void
}

/**
 * Starts a sidecar: a session of its own, so that no signal to a terminal or process group reaches it, and nothing of
 * ours in its environment. 2 to 3 ms. Neither the process nor its pipe keeps this process alive.
 *
 * @param statePath the session file that it works from
 * @param died called when it ended without having been let go
 * @returns undefined where there is no `/bin/sh`, or when it could not be started
 */
export function startSidecar(statePath: string, died: () => void): Sidecar | undefined {
  if (process.platform === 'win32') return undefined
  let child: ChildProcess
  try {
    child = spawn('/bin/sh', ['-c', STUB, 'harrow-sidecar', process.execPath, REAPER, statePath], {
      cwd: '/',
      detached: true,
      env: cleanEnvironment(),
      stdio: ['pipe', 'ignore', 'ignore'],
    })
  } catch {
    return undefined
  }
  child.on('error', () => {})
  const pipe = child.stdin
  const id = child.pid === undefined ? undefined : identify(child.pid)
  if (!pipe || !id) return undefined
  pipe.on('error', () => {})
  pipe.on('close', () => {})
  let released = false
  child.on('exit', () => {
    if (!released) died()
  })
  child.unref()
  // A pipe to a child is a socket here; its declared type is that of any stream.
  ;(pipe as typeof pipe & { unref?(): void }).unref?.()
  return {
    id,
    bye() {
      released = true
      pipe.end(`${BYE}\n`)
    },
  }
}

/**
 * Without our marks, by which it would be a member of a run around this one, and without what would make Node load or
 * write something. Everything else stays: a CI that marks its processes must be able to end this one.
 */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('HARROW_') && name !== 'NODE_OPTIONS' && name !== 'NODE_V8_COVERAGE',
  )
  return Object.fromEntries(kept)
}
