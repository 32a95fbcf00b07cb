// expect: {"id":"await-immediate-emits","class":"await-never-settles-with-live-resource","test":"hears the scheduler","culprit":"await-immediate-emits.test.ts:20","accept":["await-immediate-emits.test.ts:11","await-immediate-emits.test.ts:13"],"kind":"hang","mustMention":["idle"]}
// A scheduler looks at its jobs once a turn of the loop and would emit; a job is never taken out.
import { EventEmitter, once } from 'node:events'
import { expect, test } from 'vitest'

class Scheduler extends EventEmitter {
  jobs = 2
  start() {
    const turn = () => {
      if (this.jobs === 0) this.emit('idle')
      else setImmediate(turn)
    }
    setImmediate(turn)
  }
}

test('hears the scheduler', async () => {
  const scheduler = new Scheduler()
  scheduler.start()
  await once(scheduler, 'idle')
  expect(scheduler.jobs).toBe(0)
})
