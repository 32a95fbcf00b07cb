// expect: {"id":"lock-condition-holds-mutex","class":"lock-or-semaphore-deadlock","test":"hands a job over","culprit":"lock-condition-holds-mutex.test.ts:45","accept":["lock-condition-holds-mutex.test.ts:15","lock-condition-holds-mutex.test.ts:38","lock-condition-holds-mutex.test.ts:52"],"holder":"lock-condition-holds-mutex.test.ts:37","kind":"hang","mustMention":["lock"]}
// The consumer waits on a condition without giving the mutex back first, so the producer never gets it.
import { expect, test } from 'vitest'

class Monitor {
  private locked = false
  private entry: Array<() => void> = []
  private sleepers: Array<() => void> = []

  async lock(): Promise<void> {
    if (!this.locked) {
      this.locked = true
      return
    }
    await new Promise<void>((resolve) => this.entry.push(resolve))
  }

  unlock(): void {
    const next = this.entry.shift()
    if (next) next()
    else this.locked = false
  }

  wait(): Promise<void> {
    return new Promise((resolve) => this.sleepers.push(resolve))
  }

  notify(): void {
    for (const wake of this.sleepers.splice(0)) wake()
  }
}

const monitor = new Monitor()
const jobs: string[] = []

async function consume(): Promise<string> {
  await monitor.lock()
  while (jobs.length === 0) await monitor.wait()
  const job = jobs.shift()!
  monitor.unlock()
  return job
}

async function produce(job: string): Promise<void> {
  await monitor.lock()
  jobs.push(job)
  monitor.notify()
  monitor.unlock()
}

test('hands a job over', async () => {
  const [job] = await Promise.all([consume(), produce('j1')])
  expect(job).toBe('j1')
})
