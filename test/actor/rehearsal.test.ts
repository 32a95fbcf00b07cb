// What a zygote plays before its first fork must leave nothing that a child would inherit.
import { readdirSync, readlinkSync } from 'node:fs'
import { expect, test } from 'vitest'
import { processActor } from '../../src/actor/actor.ts'
import { logLevel, logName, setLogName } from '../../src/actor/log.ts'
import { rehearse } from '../../src/actor/rehearsal.ts'
import { getRuntimeVars } from '../../src/actor/runtime-vars.ts'
import { runtimeDir } from '../../src/process/runtime-dir.ts'
import { eventually } from './world.ts'

/** Of this process: other runs rehearse too. */
const sockets = (): string[] =>
  readdirSync(runtimeDir()).filter((name) => new RegExp(`^rehearsal-\\w+\\.${process.pid}\\.`).test(name))

/** Sockets that this process has open, whether they keep its loop alive or not. */
const open = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith('socket:') ? [target] : []
    } catch {
      return []
    }
  })

test.runIf(process.platform === 'linux')(
  'a rehearsal plays a whole life and leaves no actor, no variable, no listener, no socket',
  async () => {
    setLogName('before')
    const of = () => ({
      name: logName(),
      level: logLevel(),
      vars: getRuntimeVars(),
      actor: processActor()?.toString(),
      listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
      sockets: sockets(),
      open: open(),
    })
    const before = of()
    const said: string[] = []
    const { error } = console
    console.error = (...words) => said.push(words.join(' '))
    try {
      await rehearse()
      await rehearse()
    } finally {
      console.error = error
    }
    expect(said).toEqual([])
    await eventually('what was closed is closed', () => open().length === before.open.length)
    expect(of()).toEqual(before)
  },
)
