// expect: {"id":"lock-p-queue-inner-add","class":"lock-or-semaphore-deadlock","test":"notifies at the end of a job","culprit":"lock-p-queue-inner-add.test.ts:18","accept":["lock-p-queue-inner-add.test.ts:13","lock-p-queue-inner-add.test.ts:24"],"holder":"lock-p-queue-inner-add.test.ts:11","kind":"hang","mustMention":["add"]}
// p-queue with one slot: a job adds another job to its own queue and awaits it.
import PQueue from 'p-queue'
import { expect, test } from 'vitest'

class Mailer {
  private readonly jobs = new PQueue({ concurrency: 1 })
  readonly sent: string[] = []

  async deliver(to: string): Promise<void> {
    await this.jobs.add(async () => {
      this.sent.push(to)
      await this.notify(`delivered to ${to}`)
    })
  }

  private async notify(text: string): Promise<void> {
    await this.jobs.add(() => this.sent.push(text))
  }
}

test('notifies at the end of a job', async () => {
  const mailer = new Mailer()
  await mailer.deliver('a@example.org')
  expect(mailer.sent).toHaveLength(2)
})
