/**
 * The marker function. While a test, a hook or the collection of a file is pending, one suspended call of this
 * function stands above it in the await graph, and the label among its arguments tells the dump whose it is. Kept in a
 * file of its own because the dump recognises it by name and script.
 */
export async function harrowOwner(label: string, body: () => unknown): Promise<unknown> {
  const result = await body()
  // The label must live until the body ended, or V8 may drop it from the suspended frame.
  return label === '' ? undefined : result
}

export const OWNER_FUNCTION = 'harrowOwner'

/** True for the script that defines the marker: this file, or the bundle of the worker's entry in the package. */
export function isOwnerScript(url: string): boolean {
  return /\/harness\/worker\/(owner|entry)\.[jt]s$/.test(url)
}

/** True for vitest's own scripts: what they wait for while a test runs is the test. */
export function isRunnerScript(url: string): boolean {
  return /[\\/]node_modules[\\/](?:vitest|@vitest[\\/]runner)[\\/]/.test(url)
}
