import { awaitedAt } from '../awaited.ts'
import { type Leaf, leavesOf } from '../chains.ts'
import type { AwaitFrame, HangClass, HangFacts, Verdict } from '../facts.ts'
import { bestHolder } from '../holders.ts'
import { isOfMocks } from '../waiting-line.ts'
import { quote, sameLine, subject, where } from '../words.ts'
import { circumstances, firstUser, siteOf, userStack } from './common.ts'

const NAME = 'module-loading-deadlock'
const IMPORT = /\bimport\s*\(/
/** What loads the modules of tests. */
const RUNNER = /node_modules\/(?:vitest|vite|@vitest\/[^/]+)\//

/** A module that never finishes loading: a top-level await that never settles, or a dynamic import in a cycle. */
export const moduleLoading: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.loop !== 'idle') return undefined
    const leaves = leavesOf(facts)
    for (const leaf of leaves) {
      const verdict = dynamicImport(facts, leaf)
      if (verdict !== undefined) return verdict
    }
    return facts.phase === 'collect' ? topLevelAwait(facts, leaves[0]) : undefined
  },
}

/** A leaf, or a function above it, that waits for `import()`. */
function dynamicImport(facts: HangFacts, leaf: Leaf): Verdict | undefined {
  const importer = importerIn(leaf)
  if (importer === undefined) return undefined
  const loader = leaf.heldBy.find((held) => /module ?(?:loader|job|wrap)|SourceTextModule/i.test(held.owner))
  const loading = leaf.below.filter(isLoading)
  const atLeaf = importer === leaf.frame
  const seen = loading.length > 0 || loader !== undefined || !atLeaf
  if (!seen && bestHolder(leaf.heldBy)?.live === true) return undefined
  const modules = loading.filter(({ site }) => !site.path.startsWith('node:') && !RUNNER.test(site.path))
  const inCircle = modules.slice(0, 20).find((frame) => waitsForItself(frame, leaf.below))
  const inside = atLeaf ? (inCircle ?? modules.at(-1)) : leaf.frame
  return {
    class: NAME,
    confidence: inCircle !== undefined ? 'certain' : seen ? 'likely' : 'guess',
    diagnosis: `${subject(facts)} waits at ${awaitedAt(importer)} for a module that never finishes loading: ${because(inside, inCircle !== undefined)}.`,
    // Where the imported module is the user's, its own await is the line to look at.
    culprit: siteOf(leaf.frame),
    ...(!atLeaf && { holder: siteOf(importer) }),
    evidence: [
      `the await at ${where(importer.site)} is a dynamic import()`,
      ...(inCircle === undefined ? [] : [`in the await graph, the load of ${inCircle.site.path} waits for itself`]),
      loader === undefined
        ? 'the event loop is idle: nothing is being read or compiled'
        : `the awaited promise is held by the module loader (${loader.path})`,
      ...circumstances(facts),
    ],
    ...(inCircle && { cycles: [[`the load of ${inCircle.site.path} waits for itself, by way of what it imports`]] }),
    hint: 'break the cycle: a module must not await the import of one that imports it back, statically or not',
    ...(!seen && { alsoConsidered: ['lost-promise'] }),
    stack: userStack(leaf.chain),
  }
}

function because(inside: AwaitFrame | undefined, circle: boolean): string {
  if (inside === undefined) {
    return 'a module in it waits for one that waits for it, or has a top-level await that never settles'
  }
  const { path, line } = inside.site
  const awaits = inside.exact && inside.source !== undefined ? ` at line ${line} (${quote(inside.source)})` : ''
  return circle
    ? `${path} waits${awaits} for the import of a module that imports ${path} back (an import cycle)`
    : `its module ${path} is suspended${awaits}`
}

/** Does the await graph lead from this function back to it? */
function waitsForItself(frame: AwaitFrame, among: readonly AwaitFrame[]): boolean {
  const reached = new Set<number>()
  const queue = [frame.id]
  for (const id of queue) {
    for (const one of among) {
      if (!one.awaitedBy.includes(id) || reached.has(one.id)) continue
      if (one.id === frame.id) return true
      reached.add(one.id)
      queue.push(one.id)
    }
  }
  return false
}

/** The leaf itself, or the frame whose `import()` runs the module body that the chain goes through. */
function importerIn({ chain, frame: leaf, below }: Leaf): AwaitFrame | undefined {
  // `import()` may stand on another line than the await: that a module is being loaded below says the same.
  if (leaf.exact && below.some((frame) => /^node:internal\/modules/.test(frame.site.path))) return leaf
  return chain.find((frame, i) => {
    if (!frame.exact || !IMPORT.test(frame.source ?? '')) return false
    const inner = chain[i - 1]
    // What runs after the import, in a `then` of the same line, is no longer loading.
    return inner === undefined || (/^(?:<.*>)?$/.test(inner.fn) && inner.site.path !== frame.site.path)
  })
}

/** A module of a package, or the part of Node that loads one. */
function isLoading(frame: AwaitFrame): boolean {
  return !frame.user && (/node_modules/.test(frame.site.path) || /^node:internal\/modules/.test(frame.site.path))
}

function topLevelAwait(facts: HangFacts, leaf: Leaf | undefined): Verdict {
  const traced = firstUser(facts.lost?.awaited)
  // The import waits for the factory of a mock, which waits for what is lost.
  const mocked = leaf?.heldBy.some(isOfMocks) === true
  const culprit = (mocked ? traced : undefined) ?? leaf?.frame ?? traced
  const proven = facts.lost?.proven === true
  if (culprit === undefined) {
    return {
      class: NAME,
      confidence: 'guess',
      diagnosis: `${subject(facts)} never finishes loading: its import has taken longer than the limit, the event loop is idle, and no function of it is suspended${facts.awaits === null ? ' that could be seen' : ''}.`,
      evidence: ['the file is in collection, no test exists yet', ...circumstances(facts)],
      hint: 'look for a top-level await in this file and in what it imports',
      alsoConsidered: ['lost-promise', 'unknown'],
      stack: [],
    }
  }
  const holder = leaf === undefined ? undefined : bestHolder(leaf.heldBy)
  const created = leaf === undefined ? firstUser(facts.lost?.created) : undefined
  const because =
    mocked && traced !== undefined
      ? 'it stands in the factory of a mock, and nothing was found that could still settle its promise'
      : holder !== undefined
        ? `it waits in ${holder.held.path}, and ${holder.why}`
        : proven
          ? 'its promise was garbage-collected while pending, so nothing can settle it'
          : 'nothing was found that could still settle it'
  return {
    class: NAME,
    confidence: proven && leaf === undefined ? 'certain' : 'likely',
    // Not "its top-level await": it may stand in a setup file, the factory of a mock, or an async describe.
    diagnosis: `${subject(facts)} does not finish loading, because of ${awaitedAt(culprit)}: ${because}; none of its tests exists yet.`,
    culprit: siteOf(culprit),
    ...(created && !sameLine(created.site, culprit.site) && { holder: siteOf(created) }),
    evidence: [
      'the file is in collection and the event loop is idle',
      ...(leaf === undefined ? [] : leaf.heldBy.map((held) => `held by ${held.path}`)),
      ...circumstances(facts),
    ],
    hint: 'move the wait into a hook (beforeAll), where it has a limit and a name, or await it only after somebody can settle it',
    stack: userStack(leaf?.chain ?? facts.lost?.awaited ?? []),
  }
}
