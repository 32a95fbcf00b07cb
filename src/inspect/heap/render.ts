/** A remote object as the inspector describes it. */
export interface RemoteValue {
  type?: string
  subtype?: string
  className?: string
  value?: unknown
  unserializableValue?: string
  description?: string
  objectId?: string
  preview?: Preview
}

interface Preview {
  type?: string
  subtype?: string
  description?: string
  overflow?: boolean
  properties?: { name: string; type?: string; subtype?: string; value?: string }[]
  entries?: { key?: Preview; value: Preview }[]
}

const MAX_VALUE = 120

/** A value in at most 120 characters, from what the inspector has sent: no getter runs. */
export function renderValue(value: RemoteValue): string {
  return shorten(fullText(value))
}

function fullText(value: RemoteValue): string {
  if (value.unserializableValue !== undefined) return value.unserializableValue
  switch (value.type) {
    case 'undefined':
      return 'undefined'
    case 'string':
      return typeof value.value === 'string' ? JSON.stringify(value.value) : '(string)'
    case 'number':
    case 'boolean':
      return String(value.value)
    case 'function':
      return functionText(value.description)
    case 'object':
      if (value.subtype === 'null') return 'null'
      return value.preview ? previewText(value.preview, value.className) : firstLine(value.description)
    default:
      return firstLine(value.description)
  }
}

function previewText(preview: Preview, className = ''): string {
  const name = firstLine(preview.description || className)
  if (preview.subtype === 'error' || preview.subtype === 'regexp' || preview.subtype === 'date') return name
  if (preview.entries) {
    const entries = preview.entries.map(({ key, value }) => (key ? `${short(key)} => ${short(value)}` : short(value)))
    return `${name} {${list(entries, preview.overflow)}}`
  }
  const isArray = preview.subtype === 'array' || preview.subtype === 'typedarray'
  const parts = (preview.properties ?? []).map((property) => {
    const text = propertyText(property)
    return isArray && /^\d+$/.test(property.name) ? text : `${property.name}: ${text}`
  })
  if (isArray) return `${name} [${list(parts, preview.overflow)}]`
  return `${name === 'Object' ? '' : `${name} `}{${list(parts, preview.overflow)}}`
}

function propertyText(property: { type?: string; subtype?: string; value?: string }): string {
  if (property.type === 'string') return JSON.stringify(property.value ?? '')
  if (property.type === 'function') return 'function'
  if (property.type === 'accessor') return '(accessor)'
  return firstLine(property.value ?? property.type)
}

function short(preview: Preview): string {
  const text = firstLine(preview.description ?? preview.type)
  return preview.type === 'string' ? JSON.stringify(text) : text
}

function list(parts: readonly string[], overflow = false): string {
  return [...parts, ...(overflow ? ['…'] : [])].join(', ')
}

function functionText(description = ''): string {
  const line = firstLine(description)
  if (/^class\b/.test(line)) return line.replace(/\s*\{.*$/, '')
  const name = /^(?:async\s+)?(?:function\s*\*?\s*)?([\w$#]+)\s*\(/.exec(line)?.[1]
  return name && name !== 'function' && name !== 'async' ? `function ${name}` : 'function'
}

function firstLine(text = ''): string {
  const end = text.indexOf('\n')
  return end < 0 ? text : text.slice(0, end)
}

function shorten(text: string): string {
  return text.length <= MAX_VALUE ? text : `${text.slice(0, MAX_VALUE - 1)}…`
}
