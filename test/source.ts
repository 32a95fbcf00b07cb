import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAst } from 'vitest/node'

export { filesBelow } from '../scripts/dev/files.ts'

/** One import of a module, as written. */
export interface Import {
  specifier: string
  /** True when nothing of it is left at run time. */
  typeOnly: boolean
}

/** A name that a module exports; `from` when it comes from another module. */
export interface Export {
  /** `*` for `export * from`. */
  name: string
  typeOnly: boolean
  from?: string
}

interface Node {
  type: string
  [key: string]: unknown
}

/** Every import, `export ... from`, `import()` and `import('...')` type of a TypeScript source. */
export function importsOf(source: string): Import[] {
  const found: Import[] = []
  walk(parse(source), (node) => {
    const specifier = (node.source as { value?: unknown } | null | undefined)?.value
    if (typeof specifier !== 'string') return
    if (node.type === 'ImportDeclaration') found.push({ specifier, typeOnly: typesOnly(node, 'importKind') })
    else if (/^Export(Named|All)Declaration$/.test(node.type))
      found.push({ specifier, typeOnly: typesOnly(node, 'exportKind') })
    else if (node.type === 'ImportExpression') found.push({ specifier, typeOnly: false })
    else if (node.type === 'TSImportType') found.push({ specifier, typeOnly: true })
  })
  return found
}

/** The names that a TypeScript source exports, in its order. */
export function exportsOf(source: string): Export[] {
  const { body } = parse(source) as Node & { body: Node[] }
  return body.flatMap((node): Export[] => {
    const from = (node.source as { value: string } | null | undefined)?.value
    if (node.type === 'ExportAllDeclaration') {
      const name = (node.exported as { name: string } | null)?.name ?? '*'
      return [{ name, typeOnly: node.exportKind === 'type', from }]
    }
    if (node.type === 'ExportDefaultDeclaration') return [{ name: 'default', typeOnly: false }]
    if (node.type !== 'ExportNamedDeclaration') return []
    const specifiers = (node.specifiers as Node[]).map((one) => ({
      name: (one.exported as { name: string }).name,
      typeOnly: node.exportKind === 'type' || one.exportKind === 'type',
      from,
    }))
    return [...specifiers, ...declared(node.declaration as Node | null)]
  })
}

/** Throws a `SyntaxError` when the text is no TypeScript. */
export function parse(source: string): Node {
  return parseAst(source, { lang: 'ts' }) as unknown as Node
}

export function read(...path: string[]): string {
  return readFileSync(join(...path), 'utf8')
}

function typesOnly(node: Node, kind: 'importKind' | 'exportKind'): boolean {
  if (node[kind] === 'type') return true
  const specifiers = node.specifiers as Node[] | undefined
  return specifiers !== undefined && specifiers.length > 0 && specifiers.every((one) => one[kind] === 'type')
}

function declared(node: Node | null): Export[] {
  if (node === null) return []
  const typeOnly = node.type.startsWith('TS')
  if (node.id) return [{ name: (node.id as { name: string }).name, typeOnly }]
  const declarations = (node.declarations ?? []) as { id: { name: string } }[]
  return declarations.map(({ id }) => ({ name: id.name, typeOnly }))
}

function walk(value: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(value)) for (const one of value) walk(one, visit)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  if ('type' in value && typeof value.type === 'string') visit(value as Node)
  for (const child of Object.values(value)) walk(child, visit)
}
