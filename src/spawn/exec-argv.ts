/** Flags that mean this process and not its children: the inspector, test runners, coverage, what evaluates a text. */
const OWN =
  /^--(inspect|debug|test|experimental-test|watch|cpu-prof|heap-prof|prof|eval|print|check|title|report-on|heapsnapshot|trace-event)|^-[epc]$|^-pe$/
/** Flags whose value is the next word, unless it is joined by `=`. */
const WITH_VALUE =
  /^(--(inspect-port|inspect-publish-uid|debug-port|test-(?!only|force-exit|randomize|update-snapshots)[\w-]+|watch-path|title|eval|print|(?:cpu|heap)-prof-(?:dir|name|interval)|trace-event-(?:categories|file-pattern)|heapsnapshot-(?:signal|near-heap-limit))|-e|-p|-pe)$/

/**
 * Node flags of a child: ours without those that are ours alone, or none.
 *
 * @param inherit take ours over
 */
export function childExecArgv(inherit: boolean, own: readonly string[] = process.execArgv): string[] {
  const kept: string[] = []
  for (let i = 0; inherit && i < own.length; i++) {
    const flag = own[i]!
    if (!OWN.test(flag)) kept.push(flag)
    else if (WITH_VALUE.test(flag)) i++
  }
  return kept
}

/** The same for `NODE_OPTIONS`. */
export function childNodeOptions(value: string): string {
  return value
    .split(/\s+/)
    .filter((flag) => flag !== '' && !/^--(inspect|debug|cpu-prof|heap-prof|test)/.test(flag))
    .join(' ')
}
