/** What backends keep for a whole tree and give back when its root closes. */

const enders = new Set<() => Promise<void>>()

/** Called once, when the runtime of this process closes. */
export function atRuntimeEnd(ender: () => Promise<void>): void {
  enders.add(ender)
}

/** Never rejects. */
export async function endBackends(): Promise<void> {
  const all = [...enders]
  enders.clear()
  await Promise.allSettled(all.map((ender) => ender()))
}
