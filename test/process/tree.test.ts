import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commandOf, descendants, processFacts, sampleProcesses, shorten } from '../../src/process/tree.ts'
import { Sandbox, until } from './sandbox.ts'

describe.skipIf(process.platform !== 'linux')('process tree', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  it('lists descendants with each parent before its children', async () => {
    const pid = box.shell('sh -c "sleep 61 & sleep 62 & wait" & sleep 63 & wait')
    const commands = () => descendants(pid).map((fact) => fact.command)
    await until(() => commands().filter((command) => command.startsWith('sleep')).length === 3)
    const facts = descendants(pid)
    expect(facts).toHaveLength(4)
    const seen = new Set([pid])
    for (const fact of facts) {
      expect(seen).toContain(fact.ppid)
      seen.add(fact.pid)
    }
  })

  it('tells state, memory, age and a shortened command of a process', async () => {
    const pid = box.start('sleep', ['60', ...Array(40).fill('0.001')])
    await until(() => (processFacts([pid])[0]?.rssBytes ?? 0) > 0 && commandOf(pid).startsWith('sleep'))
    const [fact] = processFacts([pid, 0x7fff_ffff])
    expect(fact).toMatchObject({ pid, ppid: process.pid })
    expect(fact!.command).toHaveLength(120)
    expect(fact!.rssBytes).toBeGreaterThan(0)
    expect(fact!.ageMs).toBeGreaterThanOrEqual(0)
    expect(fact!.ageMs).toBeLessThan(60_000)
  })

  it('tells a busy process from a sleeping one', async () => {
    const busy = box.node('for (;;);')
    const idle = box.start('sleep', ['60'])
    await until(() => commandOf(idle) === 'sleep 60' && commandOf(busy).includes('for'))
    const [first, second] = await sampleProcesses([busy, idle], 200)
    expect(first?.cpuPercent).toBeGreaterThan(0)
    expect(second?.cpuPercent).toBe(0)
  })

  it('shows that a text was cut', () => {
    expect(shorten('abcdef', 6)).toBe('abcdef')
    expect(shorten('abcdefg', 6)).toBe('abcde…')
  })
})
