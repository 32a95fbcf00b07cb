// What a zygote plays before its first fork must leave nothing that a child would inherit.
import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { processActor } from '../../src/actor/actor.ts'
import { logLevel, logName, setLogName } from '../../src/actor/log.ts'
import { rehearse } from '../../src/actor/rehearsal.ts'
import { getRuntimeVars } from '../../src/actor/runtime-vars.ts'
import { runtimeDir } from '../../src/process/runtime-dir.ts'

const sockets = (): string[] => readdirSync(runtimeDir()).filter((name) => name.startsWith('rehearsal'))

test('a rehearsal plays a whole life and leaves no actor, no variable, no listener, no socket', async () => {
  setLogName('before')
  const of = (): unknown => ({
    name: logName(),
    level: logLevel(),
    vars: getRuntimeVars(),
    actor: processActor()?.toString(),
    listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
    sockets: sockets(),
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
  expect(of()).toEqual(before)
})
