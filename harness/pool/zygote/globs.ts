/** Globs of file names: `*`, `?`, `**` and `{a,b}`; a path has `/` between its parts. */

/** @returns tells whether one of the globs matches the whole path */
export function globs(patterns: readonly string[]): (path: string) => boolean {
  const all = patterns.map(toExpression)
  return (path) => all.some((one) => one.test(path))
}

const TOKEN = /\*\*\/|\*\*|\*|\?|\{|\}|,|[^*?{},]+/g

function toExpression(glob: string): RegExp {
  let depth = 0
  const source = (glob.replace(/^\.\//, '').match(TOKEN) ?? []).map((token) => {
    if (token === '**/') return '(?:[^/]+/)*'
    if (token === '**') return '.*'
    if (token === '*') return '[^/]*'
    if (token === '?') return '[^/]'
    if (token === '{') return depth++ >= 0 ? '(?:' : ''
    if (token === '}' && depth > 0) return depth-- > 0 ? ')' : ''
    if (token === ',' && depth > 0) return '|'
    return token.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${source.join('')}${')'.repeat(depth)}$`)
}
