// Clean copies: a config or a plugin may fake timers in the main process too.
const { setTimeout, clearTimeout } = globalThis

/** The promise's value, or undefined when it has not settled within the bound. A rejection counts as undefined. */
export async function settled<T>(promise: Promise<T>, boundMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), boundMs)
  })
  try {
    return await Promise.race([promise.catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
