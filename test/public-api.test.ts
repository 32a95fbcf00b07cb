import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { childEnv, root } from '../scripts/dev/checkout.ts'
import { runChild } from '../scripts/dev/child.ts'
import { exportsOf, read } from './source.ts'

/** Exported names of a module, sorted; types are marked. Follows `export * from`. */
function namesOf(path: string): string[] {
  return exportsOf(read(path))
    .flatMap(({ name, typeOnly, from }) => {
      if (name !== '*') return [typeOnly ? `type ${name}` : name]
      return namesOf(join(dirname(path), from!))
    })
    .sort()
}

describe('the public names', () => {
  test('of harrow', () => {
    expect(namesOf(join(root, 'src/index.ts'))).toMatchInlineSnapshot(`
      [
        "Actor",
        "ActorCancelled",
        "ActorFailure",
        "ActorGroupError",
        "ActorNursery",
        "ActorTooSlowError",
        "BackendUnavailableError",
        "CancelledError",
        "Context",
        "ContextCancelled",
        "DEADLINES",
        "DEFAULT_SPAWN_METHOD",
        "DUMP_FORMAT",
        "DeadlineExceeded",
        "EndOfStream",
        "HangError",
        "HarrowError",
        "InternalError",
        "Interrupted",
        "LIMITS",
        "LOG_LEVELS",
        "LeakError",
        "MessagingError",
        "ModuleNotExposed",
        "MsgTypeError",
        "NoResult",
        "NoRuntime",
        "NotImplementedSpawnMethodError",
        "OrphanError",
        "Parked",
        "Portal",
        "ProbeError",
        "RemoteActorError",
        "RuntimeFailure",
        "SPAWN_METHODS",
        "Scope",
        "Stream",
        "StreamOverrun",
        "Task",
        "TaskGroupError",
        "TaskNursery",
        "TimeoutError",
        "TransportClosed",
        "UsageError",
        "WAIT_REASONS",
        "actorTree",
        "breakIpc",
        "checkpoint",
        "context",
        "currentActor",
        "currentActorOrNone",
        "currentHost",
        "currentIpcCtx",
        "currentScope",
        "currentTask",
        "dumpOnHang",
        "dumpOnSignal",
        "failAfter",
        "findActor",
        "getParent",
        "getRegistry",
        "getRoot",
        "getRuntimeVars",
        "isCancelled",
        "isHarrowError",
        "isMultiCancelled",
        "moveOnAfter",
        "onUncooperative",
        "openNursery",
        "openRoot",
        "openTaskNursery",
        "park",
        "parkOn",
        "parseDumpRecord",
        "registerErrorTypes",
        "registerValueType",
        "renderDump",
        "runDaemon",
        "runDetached",
        "runScope",
        "scopeLimits",
        "setRuntimeVars",
        "setSpawnMethod",
        "shield",
        "sleep",
        "sleepForever",
        "taskTree",
        "trackResourceDeltas",
        "type ActorEnd",
        "type ActorNode",
        "type ActorOptions",
        "type Aid",
        "type BeforeAfter",
        "type Calls",
        "type CancelCallback",
        "type CancelDetails",
        "type CancelSource",
        "type Confidence",
        "type ContextCancelDetails",
        "type ContextEndpoint",
        "type ContextOptions",
        "type Contexts",
        "type CreationSite",
        "type Deadlines",
        "type Disarm",
        "type DumpRecord",
        "type ErrorClass",
        "type FindOptions",
        "type Generators",
        "type HangErrorDetails",
        "type HangWatchOptions",
        "type HarrowErrorCode",
        "type IgnoreRule",
        "type LifetimeStack",
        "type LiveHandle",
        "type LogLevel",
        "type LostActor",
        "type Moved",
        "type NameChange",
        "type NurseryOptions",
        "type RemoteErrorDetails",
        "type ResourceDeltaReport",
        "type ResourceSnapshot",
        "type RootOptions",
        "type RunOptions",
        "type RuntimeVars",
        "type ScopeOptions",
        "type Site",
        "type SpawnMethod",
        "type StartOptions",
        "type StopWatch",
        "type StreamOptions",
        "type TaskNode",
        "type TaskNurseryOptions",
        "type TaskState",
        "type TrackOptions",
        "type Uid",
        "type UncooperativeTask",
        "type ValueType",
        "type Wait",
        "type WaitReason",
        "type WatchOptions",
        "uncooperativeTasks",
        "waitForActor",
        "withCleanup",
        "withSignal",
      ]
    `)
  })

  test('of harrow/vitest', () => {
    expect(namesOf(join(root, 'harness/index.ts'))).toMatchInlineSnapshot(`
      [
        "HangError",
        "LeakError",
        "OrphanError",
        "UsageError",
        "activeBackend",
        "activeTransport",
        "actorTest",
        "cpuHeadroom",
        "fixtures",
        "harrow",
        "hasNestedActors",
        "isHarrowError",
        "keep",
        "marks",
        "noTransport",
        "onlyOnBackend",
        "reap",
        "regAddr",
        "resourceDeltaFixture",
        "skipOnBackend",
        "type ActorTestContext",
        "type ActorTestOptions",
        "type BackendArgs",
        "type Daemon",
        "type DaemonOptions",
        "type Fixtures",
        "type HangOptions",
        "type HarrowOptions",
        "type HarrowPlugin",
        "type KeepOptions",
        "type LeakRule",
        "type Mark",
        "type MarkMeta",
        "type MarkOptions",
        "type ReapedProcess",
        "type Reaper",
        "type ResourceDeltaOptions",
        "type ResourceDeltaReport",
        "type ResourceDeltaValue",
        "type ResourceSnapshot",
        "type Severity",
        "type ZygoteOptions",
        "withDaemon",
        "xfailOnBackend",
      ]
    `)
  })

  test('of harrow/reporters', () => {
    expect(namesOf(join(root, 'reporters/index.ts'))).toMatchInlineSnapshot(`
      [
        "HangReporter",
        "JUnitReporter",
        "MatrixReporter",
        "matrixTable",
        "renderMatrix",
        "type MatrixCell",
        "type MatrixReporterOptions",
        "type MatrixTable",
      ]
    `)
  })
})

describe('the package', () => {
  const manifest = JSON.parse(read(root, 'package.json')) as {
    version: string
    bin: Record<string, string>
    exports: Record<string, string | Record<string, string>>
  }

  const build = async (): Promise<void> => {
    const built = await runChild(process.execPath, ['scripts/dev/build.ts'], { cwd: root, limitMs: 60_000 })
    expect(built.output).toBe('')
    expect(built.code).toBe(0)
  }
  beforeAll(build, 90_000)

  // Runs that read dist go on beside a build; a build that makes other names each time takes it away under them.
  test('is the same when it is built again, and is left alone then', async () => {
    const dist = join(root, 'dist')
    const before = statSync(dist).ino
    await build()
    expect(statSync(dist).ino).toBe(before)
  }, 90_000)

  test('exports files that the build makes', () => {
    const paths = Object.values(manifest.exports).flatMap((to) => (typeof to === 'string' ? to : Object.values(to)))
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([])
  })

  test.each(['src/index', 'harness/index', 'reporters/index'])(
    '%s has the same values in dist as in the source',
    async (entry) => {
      const script = `import(process.argv[1]).then((m) => console.log(JSON.stringify(Object.keys(m).sort())))`
      const loaded = await runChild(process.execPath, ['-e', script, join(root, 'dist', `${entry}.js`)], {
        cwd: root,
        env: childEnv(),
        limitMs: 30_000,
      })
      expect(loaded.output).toMatch(/^\[/)
      const values = namesOf(join(root, `${entry}.ts`)).filter((name) => !name.startsWith('type '))
      expect(JSON.parse(loaded.output)).toEqual(values)
    },
  )

  test('has commands that are executable and start with node', () => {
    for (const path of Object.values(manifest.bin)) {
      expect(readFileSync(join(root, path), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
      expect(statSync(join(root, path)).mode & 0o111).toBe(0o111)
    }
  })
})
