/**
 * A hang whose result is vitest's own, "Test timed out": reports that outlive the terminal (JUnit, JSON, TAP, blobs, GitHub)
 * get what is known of it as an annotation of the test.
 */
import { resolve } from 'node:path'
import { taskById, type Vitest } from './compat.ts'
import type { Hang } from './run.ts'

interface Annotation {
  type: string
  message: string
  location?: { file: string; line: number; column: number }
}

export async function annotate(vitest: Vitest, root: string, hang: Hang): Promise<void> {
  const { evidence, error, verdict, summary } = hang
  const task = evidence.ended || evidence.test === null ? undefined : taskById(vitest, evidence.test)
  if (!task) return
  task.meta.harrow = { hang: summary }
  task.annotations ??= []
  const annotations = task.annotations as Annotation[]
  // A test that is tried again may hang in the same way again, with a dump of its own.
  if (annotations.some((one) => one.message.startsWith(verdict.diagnosis))) return
  const { culprit } = verdict
  const location = culprit && {
    file: resolve(root, culprit.path),
    line: culprit.line,
    column: culprit.column ?? 1,
  }
  const annotation: Annotation = {
    type: 'hang',
    message: error.message.replaceAll('\n', ' '),
    ...(location && { location }),
  }
  annotations.push(annotation)
  const reported = vitest.state.getReportedEntity(task as never)
  // Not public; without it, reporters that print annotations as they come miss this one.
  const { report } = vitest as { report?: (name: string, ...args: unknown[]) => Promise<void> }
  if (reported?.type === 'test') await report?.call(vitest, 'onTestCaseAnnotate', reported, annotation)
}
