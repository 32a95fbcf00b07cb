/** Keeps secrets out of dumps. Everything here is a guess by name and shape: it hides too much rather than too little. */
import type { AwaitFrame, Frame, HangFacts, LockWaits, OtherThread, WaitedFor } from './facts.ts'

export const REDACTED = '[redacted]'

/**
 * More names to hide, beside the built-in ones. A string is the source of a regular expression that is matched without
 * regard to case, so that the list can travel between processes; one that is no valid pattern is taken literally.
 */
export type RedactNames = readonly (string | RegExp)[]

const NAMES =
  'passw(?:or)?d|passphrase|secret|token|api[-_]?key|authorization|cookie|credential|private[-_]?key|access[-_]?key|' +
  'signing[-_]?key|encryption[-_]?key|session[-_]?id|jwt|bearer|connection[-_]?string|amz[-_]signature'
const SECRET_NAME = new RegExp(NAMES, 'i')
/** Longer texts are cut before they are searched. */
const TEXT_LIMIT = 64 * 1024

/** True when a variable, property, option or header of this name may hold a secret. */
export function isSecretName(name: string, extra: RedactNames = []): boolean {
  return SECRET_NAME.test(name) || extra.some((one) => matches(one, name))
}

function matches(one: string | RegExp, name: string): boolean {
  // `search` ignores the state that `g` and `y` keep between calls.
  if (typeof one !== 'string') return name.search(one) >= 0
  return one !== '' && name.search(patternOf(one)) >= 0
}

const patterns = new Map<string, RegExp>()

function patternOf(source: string): RegExp {
  const known = patterns.get(source)
  if (known !== undefined) return known
  let pattern: RegExp
  try {
    pattern = new RegExp(source, 'i')
  } catch {
    pattern = new RegExp(source.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'i')
  }
  patterns.set(source, pattern)
  return pattern
}

/** A rendered local: hidden whole by its name, else searched for secrets inside. */
export function redactLocal(name: string, value: string, extra: RedactNames = []): string {
  return isSecretName(name, extra) ? REDACTED : redactText(value, extra)
}

/**
 * Hides what looks like a secret inside a text: `--password=x`, `--token x`, `API_KEY=x`, `{ secret: 'x' }`,
 * `Bearer x`, `https://user:password@host`, tokens and keys of well-known shape.
 */
export function redactText(text: string, extra: RedactNames = []): string {
  return replaceSecrets(text, extra, () => {})
}

/** `name = 'value'`, `"name": "value"`; group 1 is the name, 2 what lies between, 3 the quote. */
const QUOTED =
  /(?<![\w$-])([\w$-]{1,100})(["']?\s{0,3}(?::|=(?![=>]))\s{0,3})(["'`])((?:\\.|(?!\3)[^\\\n]){1,4000})(?:\3|$)/g
/** `--name=value`, `NAME=value`. A space around the sign means program text, not a command line. */
const ASSIGNED = /(?<![\w$.-])(-{0,2}[A-Za-z_][\w.-]{0,100})(=)(?!\[redacted\]|["'`=>])([^\s"'`,;&)}\]]{1,4000})/g
/** `--name value`, `-H 'Name: value'` is covered by {@link HEADER}. */
const SPACED = /(?<![\w-])(--[A-Za-z][\w-]{0,100})(\s{1,3})(?!-)("[^"\n]{1,4000}"|'[^'\n]{1,4000}'|[^\s"'`]{1,4000})/g
const HEADER =
  /\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]{0,40}(?:key|token|secret))(\s{0,3}:\s{0,3})(?!\[redacted\])([^\s'"`,}][^'"`\n,}]{0,4000})/gi
const SCHEME = /\b(Bearer|Basic)(\s{1,3})([\w.~+/=-]{6,4000})/g
const USER_INFO = /\b([a-z][a-z\d+.-]{0,20}:\/\/[^\s/:@'"`]{0,200}:)([^\s/@'"`]{1,1000})(?=@)/gi
/** Tokens that can be told by their beginning: the issuers choose it so that they can be found. */
const SHAPES = [
  'gh[pousr]_\\w{20,255}|github_pat_\\w{20,255}|glpat-[\\w-]{16,255}', // GitHub, GitLab
  'xox[a-z]-[\\w-]{10,255}|xapp-[\\w-]{10,255}|hooks\\.slack\\.com/services/[\\w/]{10,255}', // Slack
  'npm_\\w{30,255}|pypi-\\w{30,255}', // package registries
  '[srp]k_(?:live|test)_\\w{10,255}|whsec_\\w{16,255}', // Stripe
  'sk-[\\w-]{20,255}|hf_\\w{30,255}', // OpenAI and others, Hugging Face
  '(?:AKIA|ASIA)[A-Z\\d]{16}|AIza[\\w-]{30,255}|ya29\\.[\\w-]{20,255}', // AWS, Google
  'SG\\.[\\w-]{16,255}\\.[\\w-]{16,255}|dop_v1_\\w{30,255}|shpat_\\w{20,255}', // SendGrid, DigitalOcean, Shopify
  'eyJ[\\w-]{10,2000}\\.[\\w-]{4,4000}\\.[\\w-]{4,4000}', // JSON web tokens
]
const WELL_KNOWN = new RegExp(`\\b(?:${SHAPES.join('|')})`, 'g')
const PEM = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]{0,10000}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g

function replaceSecrets(text: string, extra: RedactNames, hit: () => void): string {
  const hide = (kept: string, value: string, after = ''): string => {
    if (!value.includes(REDACTED)) hit()
    return `${kept}${REDACTED}${after}`
  }
  const named = (all: string, name: string, kept: string, value: string, after = ''): string =>
    isSecretName(name, extra) ? hide(name + kept, value, after) : all
  return (text.length > TEXT_LIMIT ? `${text.slice(0, TEXT_LIMIT)}…` : text)
    .replace(PEM, (all) => hide('', all))
    .replace(QUOTED, (all, name: string, between: string, q: string, value: string) =>
      named(all, name, between + q, value, q),
    )
    .replace(ASSIGNED, (all, name: string, sign: string, value: string) => named(all, name, sign, value))
    .replace(SPACED, (all, name: string, space: string, value: string) => named(all, name, space, value))
    .replace(SCHEME, (_all, scheme: string, space: string, value: string) => hide(scheme + space, value))
    .replace(HEADER, (_all, name: string, sign: string, value: string) => hide(name + sign, value))
    .replace(USER_INFO, (_all, kept: string, value: string) => hide(kept, value))
    .replace(WELL_KNOWN, (all) => hide('', all))
}

/** Hides secrets and counts them, for the capture notes of one dump. */
export class Redactor {
  readonly #extra: RedactNames
  /** How many values were hidden. */
  count = 0

  /** @param extra names to hide beside the built-in ones */
  constructor(extra: RedactNames = []) {
    this.#extra = extra
  }

  text(text: string): string {
    return replaceSecrets(text, this.#extra, () => this.count++)
  }

  locals(locals: Record<string, string>): Record<string, string> {
    return Object.fromEntries(
      Object.entries(locals).map(([name, value]) => {
        if (!isSecretName(name, this.#extra)) return [name, this.text(value)]
        this.count++
        return [name, REDACTED]
      }),
    )
  }

  frame<F extends Frame>(frame: F): F {
    return {
      ...frame,
      ...(frame.source !== undefined && { source: this.text(frame.source) }),
      ...(frame.next !== undefined && { next: this.text(frame.next) }),
      ...(frame.locals !== undefined && { locals: this.locals(frame.locals) }),
    }
  }

  /** A copy of plain data in which every text is searched. */
  #data<T>(value: T): T {
    if (typeof value === 'string') return this.text(value) as T
    if (Array.isArray(value)) return value.map((one) => this.#data(one)) as T
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, this.#data(one)])) as T
  }

  /** Keys of a `Map` stand in the path of what holds an await. */
  #await(frame: AwaitFrame): AwaitFrame {
    return { ...this.frame(frame), heldBy: this.#data(frame.heldBy) }
  }

  #waitedFor(waited: WaitedFor): WaitedFor {
    const noted = <T extends { frames: Frame[] }>(list: T[]): T[] =>
      list.map((one) => ({ ...one, frames: one.frames.map((frame) => this.frame(frame)) }))
    return {
      ...waited,
      objects: this.#data(waited.objects),
      children: waited.children.map((child) => ({
        ...child,
        command: this.text(child.command),
        kernel: child.kernel && { ...child.kernel, doing: child.kernel.doing && this.text(child.kernel.doing) },
        users: child.users.map((user) => ({ ...user, command: this.text(user.command) })),
      })),
      signals: noted(waited.signals),
      fetches: noted(waited.fetches),
    }
  }

  /** A copy of the facts without secrets. Meant to run before a class reads them: diagnoses quote source and commands. */
  facts(facts: HangFacts): HangFacts {
    const frames = (list: Frame[]): Frame[] => list.map((frame) => this.frame(frame))
    const { sync, crumb, lost, fakeTimers } = facts
    return {
      ...facts,
      sync: sync && { ...sync, frames: frames(sync.frames), second: frames(sync.second) },
      crumb: crumb && { ...crumb, detail: this.text(crumb.detail), frames: frames(crumb.frames) },
      kernel: facts.kernel.map((sentence) => this.text(sentence)),
      awaits: facts.awaits?.map((frame) => this.#await(frame)) ?? null,
      lost: lost && {
        ...lost,
        created: frames(lost.created),
        awaited: frames(lost.awaited),
        ...(lost.note !== undefined && { note: this.text(lost.note) }),
        ...(lost.streams && {
          streams: lost.streams.map((one) => ({
            ...one,
            listens: one.listens.map(({ event, frames: at }) => ({ event, frames: frames(at) })),
            destroyed: frames(one.destroyed),
          })),
        }),
      },
      ...(facts.actors && { actors: this.#data(facts.actors) }),
      ...(typeof facts.stackError === 'string' && { stackError: this.text(facts.stackError) }),
      ...(facts.budgets && { budgets: facts.budgets.map((phrase) => this.text(phrase)) }),
      ...(facts.locks && { locks: this.#locks(facts.locks) }),
      fakeTimers: fakeTimers && { ...fakeTimers, installed: frames(fakeTimers.installed) },
      ...(facts.handles && {
        handles: facts.handles.map((one) => ({ ...one, what: this.text(one.what), created: frames(one.created) })),
      }),
      ...(facts.waitedFor && { waitedFor: this.#waitedFor(facts.waitedFor) }),
      ...(facts.others && { others: facts.others.map((one) => this.#other(one)) }),
      processes: facts.processes.map((one) => ({ ...one, command: this.text(one.command) })),
      missing: facts.missing.map((sentence) => this.text(sentence)),
    }
  }

  #other(other: OtherThread): OtherThread {
    const { sync, awaits } = other
    const frames = (list: Frame[]): Frame[] => list.map((frame) => this.frame(frame))
    return {
      ...other,
      label: this.text(other.label),
      sync: sync && { ...sync, frames: frames(sync.frames), second: frames(sync.second) },
      awaits: awaits?.map((frame) => this.#await(frame)) ?? null,
      kernel: other.kernel.map((sentence) => this.text(sentence)),
      notes: other.notes.map((note) => this.text(note)),
    }
  }

  #locks({ waits, others }: LockWaits): LockWaits {
    const frames = (list: Frame[]): Frame[] => list.map((frame) => this.frame(frame))
    return {
      waits: waits.map((wait) => ({
        ...wait,
        lock: this.text(wait.lock),
        method: this.text(wait.method),
        inner: frames(wait.inner),
        call: this.frame(wait.call),
        outer: frames(wait.outer),
        holders: wait.holders.map((holder) => ({ ...holder, taken: this.frame(holder.taken) })),
      })),
      others: frames(others),
    }
  }
}
