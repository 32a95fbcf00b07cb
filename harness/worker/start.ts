/**
 * First code of a worker: sets up the state record, the breadcrumbs and the tracker, then hands over to vitest's own
 * entry. It loads before vitest and before any setup file, so that a hang in those is seen too, and it costs less than
 * a setup file (DESIGN.md, "Why an entry and not a setup file").
 */
import module from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { isNative, loadNative } from '../../src/process/native.ts'
import { WORKER_ENV, type WorkerConfig } from '../protocol.ts'
import { makeSide, type VitestModule } from './side.ts'

export async function start(): Promise<void> {
  const config = JSON.parse(process.env[WORKER_ENV] ?? '{}') as WorkerConfig
  delete process.env[WORKER_ENV]
  // Before vitest is loaded: its code, and that of packages, then comes from the cache. vitest flushes it at the end.
  if (config.compileCache !== null) module.enableCompileCache?.(config.compileCache)
  // SIGUSR1 then opens the inspector on a free port instead of 9229.
  if (isMainThread) process.debugPort = 0

  const side = makeSide(config, [])
  side.begin(config.record)
  await side.trace()
  side.watch((await import(config.vitest)) as VitestModule)
  await import(config.entry)
  side.greet()
  // The kernel then ends this process with the main process, even one that spins in a loop and reads no message.
  if (isMainThread) {
    const native = loadNative()
    if (isNative(native)) native.dieWithParent()
  }
}
