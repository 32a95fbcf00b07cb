/** The life of an actor that was forked from a zygote. */
import { childMain } from '../../actor/child-main.ts'
import { rehearse } from '../../actor/rehearsal.ts'
import { setTimer } from '../../process/clean.ts'
import { parseAddress } from '../../wire/address.ts'
import type { Ahead } from '../../wire/ahead.ts'
import { dial } from '../../wire/listener.ts'
import { DIAL_MS } from '../process-entry.ts'
import type { Life } from './child.ts'
import { ACTOR_ZYGOTE_FLAGS, type Order } from './protocol.ts'
import { warmModules } from './warm-modules.ts'

/** What an actor's order says beside what every order says. */
export interface ActorTask {
  name: string
  uuid: string
  parentAddr: string
  told?: Ahead
}

/** From a fork until its child has done what all children do. */
const BUSY_MS = 150

/** From its birth until what that took is given back. */
const TRIM_MS = 250

export const actorLife: Life = {
  telling: { after: BUSY_MS, files: false },

  begin({ task, stay }, pid, { entry }) {
    const { name, uuid, parentAddr } = task as ActorTask
    process.title = `harrow[${name}@${pid}]`
    process.argv = [
      process.execPath,
      entry,
      `--harrow-actor=${name}@${uuid}`,
      `--harrow-parent=${parentAddr}`,
      ...(stay ? ['--harrow-stay'] : []),
    ]
    process.execArgv = process.execArgv.filter((flag) => !ACTOR_ZYGOTE_FLAGS.includes(flag))
  },

  rehearse,
  hasSpares: true,

  live({ task }: Order, { calls }) {
    // What was read and compiled until then is a tenth of its own memory.
    setTimer(() => calls.trimHeap(), TRIM_MS).unref()
    const { name, uuid, parentAddr, told } = task as ActorTask
    return childMain({
      aid: { name, uuid },
      method: 'zygote',
      ownProcess: true,
      ...(told && { told }),
      connect: () => dial(parseAddress(parentAddr), { limitMs: DIAL_MS }),
      importModule: async (url) => warmModules.get(url) ?? (await import(url)),
      exit: (code) => process.exit(code),
    })
  },
}
