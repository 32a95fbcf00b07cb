// expect: {"id":"lock-left-by-green-test","class":"lock-or-semaphore-deadlock","test":"writes the second entry","culprit":"lock-left-by-green-test.test.ts:42","holder":"lock-left-by-green-test.test.ts:30","kind":"hang","mustMention":["acquire"]}
// An earlier test, already green, returned early without giving the mutex back; private fields and a ticket list.
import { expect, test } from 'vitest'

class Journal {
  #busy = false
  #line: Array<{ ticket: number; go: (ticket: number) => void }> = []
  #tickets = 0
  readonly entries: string[] = []

  acquire(): Promise<number> {
    const ticket = ++this.#tickets
    if (!this.#busy) {
      this.#busy = true
      return Promise.resolve(ticket)
    }
    return new Promise((go) => this.#line.push({ ticket, go }))
  }

  release(): void {
    const next = this.#line.shift()
    if (next) next.go(next.ticket)
    else this.#busy = false
  }
}

const journal = new Journal()

async function append(text: string): Promise<boolean> {
  await journal.acquire()
  if (text === '') return false
  journal.entries.push(text)
  journal.release()
  return true
}

test('refuses an empty entry', async () => {
  expect(await append('')).toBe(false)
})

test('writes the second entry', async () => {
  await journal.acquire()
  journal.entries.push('second')
  journal.release()
  expect(journal.entries).toEqual(['second'])
})
