import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { basename, join } from 'node:path'

/** The first line of a corpus file; its README says what each key means. Sites are `file:line`. */
export interface Expectation {
  id: string
  class: string
  kind: 'hang' | 'leak' | 'orphan' | 'healthy'
  test: string | null
  hook?: string
  culprit: string | null
  accept?: string[]
  holder?: string
}

/** What the score needs of an entry in `.harrow/run.json`. */
export interface Finding {
  file: string
  test?: string[] | null
  hook?: string | null
  class?: string
  culprit?: { path: string; line: number }
  created?: { path: string; line: number }
  holder?: { path: string; line: number }
  diagnosis?: string
  confidence?: string
  dump?: string
}

/** `.harrow/run.json`, as far as it is read here. */
export interface RunFile {
  hangs: Finding[]
  leaks: Finding[]
  orphans: Finding[]
}

export interface Row {
  file: string
  kind: Expectation['kind']
  want: string
  points: number
  max: number
  /** Found on the right test, hook or file. */
  test: boolean
  culprit: 'exact' | 'accepted' | 'wrong' | 'not reported' | 'healthy' | 'false alarm'
  /** The culprit as reported, `file:line`. */
  at?: string
  /** Undefined when the corpus names no holder. */
  holder?: boolean
  class?: string
  diagnosis?: string
}

export interface Total {
  points: number
  max: number
  culprits: number
  classes: number
  holders: number
  holdersMax: number
  /** Files that have something to find. */
  files: number
  alarms: number
}

const PREFIX = '// expect: '
const FALSE_ALARM = -3

/** Names of the corpus files in `folder`, sorted; with `only`, those that begin with one of its strings. */
export function corpusFiles(folder: string, only: string[] = []): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.test.ts') && (only.length === 0 || only.some((start) => name.startsWith(start))))
    .sort()
}

/** Names of the packages that these files import, beside vitest and what is built into Node; sorted. */
export function packagesOf(folder: string, files: readonly string[]): string[] {
  const found = new Set<string>()
  for (const file of files) {
    const text = readFileSync(join(folder, file), 'utf8')
    for (const [, from = ''] of text.matchAll(/^(?:import\b.*?|\} )\bfrom '([^'.][^']*)'/gm)) {
      const name = from.split('/', from.startsWith('@') ? 2 : 1).join('/')
      if (!isBuiltin(from) && name !== 'vitest') found.add(name)
    }
  }
  return [...found].sort()
}

/** @throws when the first line of the file is no `// expect:` line */
export function readExpectation(folder: string, file: string): Expectation {
  const [first = ''] = readFileSync(join(folder, file), 'utf8').split('\n', 1)
  if (!first.startsWith(PREFIX)) throw new Error(`${file}: the first line must begin with "${PREFIX}"`)
  return JSON.parse(first.slice(PREFIX.length)) as Expectation
}

/** Reads a run record; a missing or broken one is an empty record, and `missing` says why. */
export function readRunFile(path: string): RunFile & { missing?: string } {
  const empty: RunFile = { hangs: [], leaks: [], orphans: [] }
  try {
    return { ...empty, ...(JSON.parse(readFileSync(path, 'utf8')) as Partial<RunFile>) }
  } catch (error) {
    return { ...empty, missing: error instanceof Error ? error.message : String(error) }
  }
}

/** Judges one file by the best of what was reported for it: test 1, culprit 2 (accepted line 1), holder 1, class 1. */
export function judge(file: string, want: Expectation, record: RunFile): Row {
  const reported = [...record.hangs, ...record.leaks, ...record.orphans].filter((one) => basename(one.file) === file)
  const row = { file, kind: want.kind, want: want.class }
  if (want.kind === 'healthy') {
    const [alarm] = reported
    if (alarm === undefined) return { ...row, points: 0, max: 0, test: true, culprit: 'healthy' }
    return { ...row, points: FALSE_ALARM, max: 0, test: false, culprit: 'false alarm', diagnosis: alarm.diagnosis }
  }
  const max = want.holder === undefined ? 4 : 5
  const rows = reported.map((one) => ({ ...row, max, ...points(want, one) }))
  const none: Row = { ...row, max, points: 0, test: false, culprit: 'not reported' }
  return rows.reduce<Row>((best, one) => (one.points > best.points || best === none ? one : best), none)
}

function points(want: Expectation, got: Finding): Omit<Row, 'file' | 'kind' | 'want' | 'max'> {
  const at = place(got.culprit ?? got.created)
  const culprit = at === want.culprit ? 'exact' : want.accept?.includes(at ?? '') ? 'accepted' : 'wrong'
  const holder = want.holder === undefined ? undefined : place(got.holder) === want.holder
  const test = onRightTest(want, got)
  const sum =
    Number(test) +
    { exact: 2, accepted: 1, wrong: 0 }[culprit] +
    Number(holder ?? false) +
    Number(got.class === want.class)
  return { points: sum, test, culprit, at, holder, class: got.class, diagnosis: got.diagnosis }
}

function onRightTest(want: Expectation, got: Finding): boolean {
  if (want.test === null) return true
  if (got.test?.at(-1)?.includes(want.test)) return true
  return want.hook !== undefined && got.hook === want.hook
}

function place(site: { path: string; line: number } | undefined): string | undefined {
  return site && `${basename(site.path)}:${site.line}`
}

/** Adds the rows up. */
export function total(rows: Row[]): Total {
  const wanted = rows.filter((row) => row.kind !== 'healthy')
  const count = (list: Row[], test: (row: Row) => boolean): number => list.filter(test).length
  return {
    points: rows.reduce((sum, row) => sum + row.points, 0),
    max: rows.reduce((sum, row) => sum + row.max, 0),
    culprits: count(wanted, (row) => row.culprit === 'exact' || row.culprit === 'accepted'),
    classes: count(wanted, (row) => row.class === row.want),
    holders: count(wanted, (row) => row.holder === true),
    holdersMax: count(wanted, (row) => row.holder !== undefined),
    files: wanted.length,
    alarms: count(rows, (row) => row.culprit === 'false alarm'),
  }
}
