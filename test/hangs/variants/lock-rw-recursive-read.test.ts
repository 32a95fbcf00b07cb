// expect: {"id":"lock-rw-recursive-read","class":"lock-or-semaphore-deadlock","test":"reads a page while an edit is queued","kind":"hang","mustMention":["read"],"culprit":"lock-rw-recursive-read.test.ts:48","accept":["lock-rw-recursive-read.test.ts:23","lock-rw-recursive-read.test.ts:62","lock-rw-recursive-read.test.ts:69","lock-rw-recursive-read.test.ts:78"],"holder":"lock-rw-recursive-read.test.ts:57"}
// A fair read-write lock: a reader asks once more while a writer is in the line before it.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

type Unlock = () => void
interface Entry {
  write: boolean
  grant: (unlock: Unlock) => void
}

class FairLock {
  #readers = 0
  #writing = false
  readonly #line: Entry[] = []
  read(): Promise<Unlock> {
    return this.#ask(false)
  }
  write(): Promise<Unlock> {
    return this.#ask(true)
  }
  #ask(write: boolean): Promise<Unlock> {
    const { promise, resolve } = Promise.withResolvers<Unlock>()
    this.#line.push({ write, grant: resolve })
    this.#work()
    return promise
  }
  #work(): void {
    for (let head = this.#line[0]; head; head = this.#line[0]) {
      if (head.write ? this.#readers > 0 || this.#writing : this.#writing) return
      this.#line.shift()
      if (head.write) this.#writing = true
      else this.#readers++
      const { write, grant } = head
      grant(() => {
        if (write) this.#writing = false
        else this.#readers--
        this.#work()
      })
    }
  }
}

const lock = new FairLock()
const store = new Map([['home', 'see [about]'], ['about', 'we']])

async function include(name: string): Promise<string> {
  const done = await lock.read()
  try {
    return store.get(name) ?? ''
  } finally {
    done()
  }
}

async function render(name: string): Promise<string> {
  const done = await lock.read()
  try {
    const text = store.get(name) ?? ''
    await sleep(20)
    const inner = /\[(\w+)\]/.exec(text)?.[1]
    return inner ? text.replace(`[${inner}]`, await include(inner)) : text
  } finally {
    done()
  }
}

async function edit(name: string, text: string): Promise<void> {
  const done = await lock.write()
  store.set(name, text)
  done()
}

test('reads a page while an edit is queued', async () => {
  const page = render('home')
  await sleep(5)
  const edited = edit('about', 'them')
  expect(await page).toBe('see we')
  await edited
})
