/** `zygote`: a real fork(2) of a warmed Node process; see docs/backends/zygote.md. */
import type { ActorHandle, Backend, SpawnRequest } from '../backend.ts'
import { checkBag, isMs, isPolicy, isText } from '../options.ts'
import { backend as spawnBackend } from '../spawn/parent.ts'
import { ZygoteHandle } from './handle.ts'
import { selfTest } from './self-test.ts'
import { loadForkCalls } from './syscalls.ts'

/** A name alone would mean another file in the zygote than in the module that says it. */
const isList = (value: unknown): string | undefined =>
  Array.isArray(value) && value.every((one) => typeof one === 'string' && /^(file:|node:|data:|\/)/.test(one))
    ? undefined
    : "a list of module URLs or absolute paths, such as import.meta.resolve('typescript')"
const isSwitch = (value: unknown): string | undefined => (typeof value === 'boolean' ? undefined : 'true or false')
const isCount = (value: unknown): string | undefined =>
  Number.isInteger(value) && (value as number) >= 0 ? undefined : 'a whole number from 0'

const said = new Set<string>()

export const backend: Backend = {
  method: 'zygote',
  ownProcess: true,
  dialsBack: true,

  available() {
    if (process.platform !== 'linux') return `a real fork of Node is sound on Linux only, this is ${process.platform}`
    const calls = loadForkCalls()
    return 'missing' in calls ? calls.missing : true
  },

  selfTest: () => selfTest((request) => backend.spawn(request)),

  checkOptions: (options) =>
    checkBag('zygote', options, {
      warm: isList,
      spare: isSwitch,
      cwd: isText,
      onParentLost: isPolicy,
      fallback: isSwitch,
      retries: isCount,
      forkReturn: isMs,
    }),

  spawn(request: SpawnRequest): ActorHandle {
    return new ZygoteHandle(request, (why) => {
      const { fallback = true, cwd, onParentLost } = request.options
      if (!fallback) return undefined
      sayOnce(why)
      return spawnBackend.spawn({
        ...request,
        options: { ...(cwd !== undefined && { cwd }), ...(onParentLost !== undefined && { onParentLost }) },
      })
    })
  },
}

function sayOnce(why: string): void {
  // Without what differs from one to the next.
  const reason = why.replace(/\d+/g, 'N')
  if (said.has(reason)) return
  said.add(reason)
  process.emitWarning(`backend zygote could not fork: ${why}. Actors are spawned instead.`, {
    code: 'HARROW_ZYGOTE_FALLBACK',
  })
}
