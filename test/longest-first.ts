/** Long files first: one that begins last would keep a single worker busy while the others have nothing to do. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { root } from '../scripts/dev/checkout.ts'

/** Those above a quarter of a minute, longest first. What is missing here costs time, nothing else. */
const LONG = [
  'harness/goes-on',
  'harness/marks',
  'actor/lifecycle',
  'actor/processes',
  'harness/orphans',
  'hangs/corpus',
  'reap/torture',
  'harness/rude',
  'harness/others',
  'harness/config',
  'actor/errors',
  'spawn/zygote',
  'actor/cancellation',
  'scripts/reap',
  'harness/watch',
  'harness/leaks',
  'harness/actors',
  'probe/process',
  'reap/exec',
  'probe/command',
  'probe/watchdog',
  'harness/patience',
  'reap/sidecar',
  'dump/command',
  'inspect/sync-stack',
  'reap/session',
  'harness/plain',
  'scripts/ptree',
]

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = LONG.indexOf(
        relative(root, moduleId)
          .replaceAll('\\', '/')
          .replace(/^test\/|\.test\.ts$/g, ''),
      )
      return found < 0 ? LONG.length : found
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
