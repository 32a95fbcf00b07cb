import type { LiveHandle } from '../facts.ts'

/** A leftover that is meant; a rule with both fields wants both to hold, a rule with none matches nothing. */
export interface IgnoreRule {
  /** Kind of the handle, see `LiveHandle.kind`: the whole name, or a pattern. */
  kind?: string | RegExp
  /** A part of the url of any script on the creation stack, e.g. `node_modules/pg/` or `db-pool.ts:12`, or a pattern. */
  site?: string | RegExp
}

/** Is this handle on the ignore list? */
export function matchIgnore(handle: Pick<LiveHandle, 'kind' | 'created'>, rules: readonly IgnoreRule[]): boolean {
  return rules.some(({ kind, site }) => {
    if (kind === undefined && site === undefined) return false
    if (kind !== undefined && !(typeof kind === 'string' ? kind === handle.kind : finds(kind, handle.kind)))
      return false
    return site === undefined || sitesOf(handle).some((text) => isAt(site, text))
  })
}

function sitesOf({ created }: Pick<LiveHandle, 'created'>): string[] {
  return created.flatMap(({ at }) => (at ? [`${at.url}:${at.line}:${at.column}`] : []))
}

function isAt(site: string | RegExp, text: string): boolean {
  if (typeof site !== 'string') return finds(site, text)
  const from = text.indexOf(site)
  if (from < 0) return false
  // `a.ts:1` is not at `a.ts:12`.
  return !(/\d$/.test(site) && /\d/.test(text[from + site.length] ?? ''))
}

/** A pattern with the flag `g` or `y` would go on where it stopped the last time. */
function finds(pattern: RegExp, text: string): boolean {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).test(text)
}
