/** Compiled by `npm run types`: what must not compile is marked, and fails when it does. */
import { type Context, context, openNursery, type Portal } from '../../src/index.ts'

async function add(a: number, b: number): Promise<number> {
  return a + b
}
function plain(text: string): string[] {
  return [text]
}
async function takesFunction(callback: () => void): Promise<void> {
  callback()
}
async function* ticks(_n: number): AsyncGenerator<Date> {}
const dialog = context(async (ctx: Context<string, number, boolean, Date>, _size: number) => {
  ctx.started('first')
  return new Date()
})
type Module = {
  add: typeof add
  plain: typeof plain
  takesFunction: typeof takesFunction
  ticks: typeof ticks
  dialog: typeof dialog
}

export async function calls(portal: Portal<Module>): Promise<void> {
  const sum: number = await portal.call('add', 1, 2)
  const texts: string[] = await portal.call('plain', 'x')
  void [sum, texts]
  // @ts-expect-error no such function
  await portal.call('subtract', 1, 2)
  // @ts-expect-error wrong type of an argument
  await portal.call('add', 1, '2')
  // @ts-expect-error an argument is missing
  await portal.call('add', 1)
  // @ts-expect-error wrong result
  const wrong: string = await portal.call('add', 1, 2)
  // @ts-expect-error a function cannot travel, so nothing that takes one can be called
  await portal.call('takesFunction', () => {})
  // @ts-expect-error a context is opened, not called
  await portal.call('dialog', 1)
  // @ts-expect-error a generator is streamed, not called
  await portal.call('ticks', 1)
  void wrong
}

export async function contexts(portal: Portal<Module>): Promise<void> {
  await portal.openContext('dialog', [3], async (ctx, first) => {
    const text: string = first
    await ctx.openStream(async (stream) => {
      await stream.send(true)
      const item: number = await stream.receive()
      // @ts-expect-error this side sends booleans
      await stream.send(5)
      void [text, item]
    })
    const outcome = await ctx.waitForResult()
    if (outcome instanceof Date) outcome.getTime()
  })
  // @ts-expect-error wrong argument
  await portal.openContext('dialog', ['three'], async () => {})
  // @ts-expect-error a function is no context
  await portal.openContext('add', [1, 2], async () => {})
  await portal.openStreamFrom('ticks', [1], async (stream) => {
    const date: Date = await stream.receive()
    void date
  })
}

export async function references(): Promise<void> {
  await openNursery(async (an) => {
    const portal = await an.runInActor(add, { args: [1, 2] })
    const sum: number = await portal.waitForResult()
    void sum
    // @ts-expect-error wrong argument
    await an.runInActor(add, { args: ['1', 2] })
    // @ts-expect-error no async function
    await an.runInActor(plain)
  })
}
