/** Pieces of patterns for the code of functions. */

export function isLocal(code: string, name: string): boolean {
  return new RegExp(`\\b(?:const|let|var)\\s+(?:[\\w$]+\\s*,\\s*)*${escaped(name)}\\b`).test(code)
}

/** `waiting` of `this.waiting` and of `waiting[next++]`. */
export function lastName(path: string): string {
  return (
    path
      .replace(/(?:\[[^\]]*\])+$/, '')
      .match(/[\w$#]+/g)
      ?.filter((part) => part !== 'this')
      .at(-1) ?? path
  )
}

export function word(name: string): RegExp {
  return new RegExp(`(?<![\\w$])${escaped(name)}(?![\\w$])`)
}

/** For use inside a regular expression. */
export function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}
