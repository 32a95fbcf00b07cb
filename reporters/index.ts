/** `harrow/reporters`: what the plugin installs by itself, for those who build their own set of reporters. */
export { HangReporter } from './hang-reporter.ts'
