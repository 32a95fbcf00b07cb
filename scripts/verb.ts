/** One command of the binary. */
export interface Verb {
  description: string
  usage(): Promise<string>
  /** Throws a `UsageError` for wrong arguments. */
  run(args: string[]): Promise<void>
}
