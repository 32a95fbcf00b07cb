import { writeFileSync } from 'node:fs'
import pc from 'picocolors'
import type { TestModule } from 'vitest/node'
import { skipReason } from './skip-reason.ts'

/** One test on one backend. */
export interface MatrixCell {
  state: 'passed' | 'failed' | 'skipped' | 'pending'
  reason?: string
}

/** Tests by backends; what `outputFile` gets as JSON. */
export interface MatrixTable {
  format: 1
  backends: string[]
  tests: { file: string; test: string; cells: Record<string, MatrixCell> }[]
}

export interface MatrixReporterOptions {
  /** Writes the table as JSON as well. */
  outputFile?: string
  /** Where the text goes. @default the console */
  write?: (text: string) => void
}

/**
 * Prints tests by backends, from one run with `harrow({ matrix })`: passed, failed, skipped with the reason as a footnote.
 */
export class MatrixReporter {
  readonly #options: MatrixReporterOptions

  constructor(options: MatrixReporterOptions = {}) {
    this.#options = options
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const table = matrixTable(modules)
    if (this.#options.outputFile) writeFileSync(this.#options.outputFile, `${JSON.stringify(table, null, 2)}\n`)
    const write = this.#options.write ?? ((text) => console.log(text))
    write(renderMatrix(table, process.stdout.isTTY === true))
  }
}

/** Gathers a run by backend: that of a project named `<name>:<backend>`, else the run's. */
export function matrixTable(modules: readonly TestModule[]): MatrixTable {
  const backends = new Set<string>()
  const rows = new Map<string, MatrixTable['tests'][number]>()
  for (const module of modules) {
    const backend = /:([^:]+)$/.exec(module.project.name)?.[1] ?? process.env.HARROW_BACKEND ?? 'spawn'
    backends.add(backend)
    for (const test of module.children.allTests()) {
      const key = `${module.relativeModuleId}\n${test.fullName}`
      const row = rows.get(key) ?? { file: module.relativeModuleId, test: test.fullName, cells: {} }
      rows.set(key, row)
      const reason = skipReason(test)
      row.cells[backend] = { state: test.result().state, ...(reason !== undefined && { reason }) }
    }
  }
  return { format: 1, backends: [...backends], tests: [...rows.values()] }
}

const SIGNS = { passed: '✓', failed: '×', skipped: '↓', pending: '?' } as const

/** The table as text; reasons stand below it, each once. */
export function renderMatrix({ backends, tests }: MatrixTable, colour = false): string {
  const c = pc.createColors(colour)
  const paint = { passed: c.green, failed: c.red, skipped: c.dim, pending: c.yellow }
  const notes: string[] = []
  const width = Math.max(...backends.map((name) => name.length), 5) + 2
  const lines = ['', ` ${backends.map((name) => name.padEnd(width)).join('')}test`]
  for (const { file, test, cells } of tests) {
    const row = backends.map((backend) => {
      const cell = cells[backend]
      if (!cell) return ' '.repeat(width)
      const note = cell.reason === undefined ? '' : `[${numberOf(notes, cell.reason)}]`
      return `${paint[cell.state](SIGNS[cell.state])}${note}`.padEnd(width + paint[cell.state]('').length)
    })
    lines.push(` ${row.join('')}${c.dim(file)} > ${test}`)
  }
  return [...lines, '', ...notes.map((note, index) => ` [${index + 1}] ${note}`), ''].join('\n')
}

function numberOf(notes: string[], reason: string): number {
  const at = notes.indexOf(reason)
  return at >= 0 ? at + 1 : notes.push(reason)
}
