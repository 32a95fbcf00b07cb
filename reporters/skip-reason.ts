import type { TestCase } from 'vitest/node'

/** The parts of vitest's task that are read and written here. */
export interface RunnerTask {
  mode: string
  result?: { state: string; note?: string; [key: string]: unknown }
  meta: { harrowSkip?: string }
  file?: { meta: { harrowSkip?: string } }
}

/** Why a mark has skipped a test; undefined when none has. Tests at the top of a marked file have no meta of their own. */
export function skipReason(test: TestCase): string | undefined {
  return skipReasonOf((test as unknown as { task: RunnerTask }).task)
}

export function skipReasonOf({ mode, meta, file }: RunnerTask): string | undefined {
  return mode === 'skip' ? (meta.harrowSkip ?? file?.meta.harrowSkip) : undefined
}
