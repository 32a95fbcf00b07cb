/** Which of Node's own modules the program has loaded: to load one only to look at it takes milliseconds. */
export function isLoaded(name: string): boolean {
  return loadedModules().includes(`NativeModule ${name}`)
}

/** Grows with each module that is loaded; empty where Node does not tell. */
export function loadedModules(): readonly unknown[] {
  const { moduleLoadList } = process as { moduleLoadList?: unknown }
  return Array.isArray(moduleLoadList) ? moduleLoadList : []
}
