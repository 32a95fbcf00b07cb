import type { InspectorClient } from './client.ts'

/** Longest rendering of one value, in characters. */
export const LONGEST_VALUE = 120
/** Most variables that are kept of one frame. */
export const MOST_LOCALS = 8

type Shape = Record<string, unknown>

/**
 * Renders an inspector `RemoteObject` as one short line, at most 120 characters. Only what the inspector already sent
 * (value, description, preview) is used: nothing runs in the target. Anything else renders as `?`.
 */
export function renderRemoteObject(value: unknown): string {
  return shorten(render(asShape(value)))
}

/**
 * Reads the variables of one scope object; no getter runs. Variables that are not initialised yet are left out.
 * @param limit most variables to keep; 8 by default
 * @throws {ProbeError} when the inspector does not answer
 */
export async function readScope(
  post: InspectorClient['post'],
  objectId: string,
  limit = MOST_LOCALS,
): Promise<Record<string, string>> {
  const answer = asShape(
    await post('Runtime.getProperties', { objectId, ownProperties: true, generatePreview: true }),
  ).result
  const entries: [string, string][] = []
  for (const property of Array.isArray(answer) ? answer : []) {
    const { name, value } = asShape(property)
    if (entries.length >= limit) break
    // An accessor has `get` in place of a value, a variable in its dead zone has neither.
    if (typeof name === 'string' && value !== undefined) entries.push([name, renderRemoteObject(value)])
  }
  return Object.fromEntries(entries)
}

function render(object: Shape): string {
  const { type, subtype, description } = object
  switch (type) {
    case 'string':
      return JSON.stringify(String(object.value ?? ''))
    case 'undefined':
      return 'undefined'
    case 'number':
    case 'boolean':
    case 'bigint':
      return String(object.unserializableValue ?? object.value ?? description ?? '?')
    case 'symbol':
      return String(description ?? 'Symbol()')
    case 'function':
      return renderFunction(String(description ?? ''))
    case 'object':
      break
    default:
      return '?'
  }
  if (subtype === 'null') return 'null'
  if (subtype === 'error') return firstLine(String(description ?? object.className ?? 'Error'))
  return renderPreview(object.preview) ?? firstLine(String(description ?? object.className ?? 'Object'))
}

/** The description of a function is its source text. */
function renderFunction(source: string): string {
  const name = /^(?:async\s+)?(?:function\s*\*?|class)\s*([\p{ID_Start}$_][\p{ID_Continue}$]*)/u.exec(source)?.[1]
  const kind = /^class\b/.test(source) ? 'class' : 'function'
  return name === undefined || name === 'extends' ? `[${kind}]` : `[${kind} ${name}]`
}

function renderPreview(preview: unknown): string | undefined {
  const { subtype, description, properties, entries, overflow } = asShape(preview)
  if (!Array.isArray(properties)) return undefined
  const title = firstLine(String(description ?? 'Object'))
  const more = overflow === true ? ['…'] : []
  if (Array.isArray(entries)) {
    const items = entries.map((entry) => {
      const { key, value } = asShape(entry)
      const rendered = renderPreviewOf(value)
      return key === undefined ? rendered : `${renderPreviewOf(key)} => ${rendered}`
    })
    return `${title} {${[...items, ...more].join(', ')}}`
  }
  if (subtype === 'array' || subtype === 'typedarray') {
    const items = properties.map(asShape).filter(({ name }) => /^\d+$/.test(String(name)))
    return `${subtype === 'array' ? '' : `${title} `}[${[...items.map(renderProperty), ...more].join(', ')}]`
  }
  if (subtype === 'promise') {
    const state = properties.map(asShape).find(({ name }) => name === '[[PromiseState]]')
    return `Promise {${String(state?.value ?? '?')}}`
  }
  if (subtype !== undefined && properties.length === 0) return title
  const items = properties.map(asShape).map((property) => `${String(property.name)}: ${renderProperty(property)}`)
  return `${title === 'Object' ? '' : `${title} `}{${[...items, ...more].join(', ')}}`
}

/** A nested preview: an object shows as its title only, as deep as a line can be read. */
function renderPreviewOf(preview: unknown): string {
  const { type, description } = asShape(preview)
  const text = String(description ?? '?')
  return type === 'string' ? JSON.stringify(text) : firstLine(text)
}

function renderProperty({ type, subtype, value }: Shape): string {
  const text = String(value ?? '')
  if (type === 'string') return JSON.stringify(text)
  if (type === 'accessor') return '(getter)'
  if (type === 'function') return '[function]'
  return subtype === 'null' ? 'null' : firstLine(text) || String(type ?? '?')
}

function asShape(value: unknown): Shape {
  return typeof value === 'object' && value !== null ? (value as Shape) : {}
}

function firstLine(text: string): string {
  const end = text.indexOf('\n')
  return end === -1 ? text : text.slice(0, end)
}

function shorten(text: string): string {
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text
}
