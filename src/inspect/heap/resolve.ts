import { ProbeError } from '../../errors.ts'
import type { InspectorCall } from '../drive.ts'
import type { Position } from '../facts.ts'
import { type RemoteValue, renderValue } from './render.ts'

/** Gets name and rendered value of a local; what it returns is kept. */
export type Redact = (name: string, value: string) => string

const GROUP = 'harrow-dump'
const MAX_LOCALS = 8
const MAX_SCOPES = 6

interface Property {
  name: string
  value?: RemoteValue
  get?: RemoteValue
}

interface Properties {
  result?: Property[]
  internalProperties?: Property[]
}

/**
 * Asks for the position of the `await` at which a generator stands, and for its locals. The internal properties
 * `[[GeneratorLocation]]` and `[[Scopes]]` come without `Debugger.enable`.
 *
 * @param id heap object id of the generator
 * @param url script of its function
 */
export function* resolveFrame(
  id: number,
  url: string,
  withLocals: boolean,
  redact?: Redact,
): Generator<InspectorCall, { at: Position | null; locals?: Record<string, string> }, unknown> {
  const object = (yield {
    method: 'HeapProfiler.getObjectByHeapObjectId',
    params: { objectId: String(id), objectGroup: GROUP },
  }) as { result?: RemoteValue } | undefined
  const objectId = object?.result?.objectId
  if (objectId === undefined) throw new ProbeError('it is gone')
  const internal = new Map<string, RemoteValue>()
  for (const property of (yield* properties(objectId, false)).internalProperties ?? []) {
    if (property.value) internal.set(property.name, property.value)
  }
  const state = internal.get('[[GeneratorState]]')?.value
  if (state !== 'suspended') throw new ProbeError(`it is ${typeof state === 'string' ? state : 'not suspended'}`)
  const location = internal.get('[[GeneratorLocation]]')?.value as
    | { lineNumber?: unknown; columnNumber?: unknown }
    | undefined
  const line = location?.lineNumber
  const column = location?.columnNumber
  const at =
    typeof line === 'number' ? { url, line: line + 1, column: typeof column === 'number' ? column + 1 : 1 } : null
  const scopes = internal.get('[[Scopes]]')?.objectId
  if (!withLocals || scopes === undefined) return { at }
  return { at, locals: yield* readLocals(scopes, redact) }
}

/** Lets go of everything that {@link resolveFrame} made the inspector hold. */
export function* releaseObjects(): Generator<InspectorCall, void, unknown> {
  try {
    yield { method: 'Runtime.releaseObjectGroup', params: { objectGroup: GROUP } }
  } catch {
    // The objects go with the connection at the latest.
  }
}

function* properties(objectId: string, preview: boolean): Generator<InspectorCall, Properties, unknown> {
  const answer = yield {
    method: 'Runtime.getProperties',
    params: { objectId, ownProperties: true, generatePreview: preview },
  }
  return typeof answer === 'object' && answer !== null ? answer : {}
}

function* readLocals(scopes: string, redact?: Redact): Generator<InspectorCall, Record<string, string>, unknown> {
  const locals: Record<string, string> = {}
  let count = 0
  for (const scope of ((yield* properties(scopes, false)).result ?? []).slice(0, MAX_SCOPES)) {
    const { description, objectId } = scope.value ?? {}
    if (objectId === undefined || !/^(Local|Block|Catch)/.test(description ?? '')) break
    for (const local of (yield* properties(objectId, true)).result ?? []) {
      if (count >= MAX_LOCALS) return locals
      if (local.name === 'this' || Object.hasOwn(locals, local.name)) continue
      const text = local.value ? renderValue(local.value) : local.get ? '(accessor)' : '(unset)'
      locals[local.name] = redact ? redact(local.name, text) : text
      count++
    }
    // Inner blocks come first, then the function's own scope; what follows belongs to others.
    if (description?.startsWith('Local')) break
  }
  return locals
}
