/** `harrow/reporters`: what the plugin installs by itself, and what goes into a set of reporters of one's own. */
export { HangReporter } from './hang-reporter.ts'
export { JUnitReporter } from './junit-reporter.ts'
export {
  type MatrixCell,
  MatrixReporter,
  type MatrixReporterOptions,
  type MatrixTable,
  matrixTable,
  renderMatrix,
} from './matrix-reporter.ts'
