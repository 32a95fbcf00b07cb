/** The oldest Node that harrow works with, as in `package.json`: heap snapshots and stacks of earlier ones tell other things. */
const OLDEST = [22, 12] as const

/** @returns what is wrong with this Node, undefined for one that will do */
export function nodeProblem(version: string = process.versions.node): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined
  return `Node ${version} is too old: harrow needs Node ${OLDEST.join('.')} or newer`
}
