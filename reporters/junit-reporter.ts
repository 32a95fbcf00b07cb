import { JUnitReporter as StockJUnitReporter } from 'vitest/node'
import { type RunnerTask, skipReasonOf } from './skip-reason.ts'

interface Logger {
  log(text: string): Promise<void>
}
/** What is private in vitest's reporter. */
interface Inside {
  logger: Logger
}

const SPECIAL: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

/**
 * vitest's JUnit reporter with the reason of each skip: `<skipped message="a thread has no signals"/>`, where vitest writes
 * an empty element.
 *
 * @example
 * ```ts
 * // vitest.config.ts
 * import { JUnitReporter } from 'harrow/reporters'
 * import { harrow } from 'harrow/vitest'
 * import { defineConfig } from 'vitest/config'
 *
 * export default defineConfig({ plugins: [harrow()], test: { reporters: [new JUnitReporter({ outputFile: 'junit.xml' })] } })
 * ```
 */
export class JUnitReporter extends StockJUnitReporter {
  override async writeTasks(...[tasks, ...rest]: Parameters<StockJUnitReporter['writeTasks']>): Promise<void> {
    const { logger } = this as unknown as Inside
    const { log } = logger
    for (const task of tasks) {
      const reason = skipReasonOf(task as unknown as RunnerTask) ?? (task as unknown as RunnerTask).result?.note
      logger.log = (text) =>
        log.call(logger, text === '<skipped/>' && reason ? `<skipped message="${escapeXml(reason)}"/>` : text)
      try {
        await super.writeTasks([task], ...rest)
      } finally {
        logger.log = log
      }
    }
  }
}

function escapeXml(text: string): string {
  // Control characters have no form in XML 1.0.
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '').replace(/[&<>"']/g, (one) => SPECIAL[one]!)
}
