/** From a function to the module and the name under which another actor finds it. */
import { Session } from 'node:inspector'
import { pathToFileURL } from 'node:url'
import { thrownText } from '../errors.ts'
import { describe, shapeOf } from './endpoints.ts'

export interface Reference {
  url: string
  name: string
}

const known = new WeakMap<object, Reference>()

/**
 * Where an exported function lives. The script is asked of V8 (`[[FunctionLocation]]`), then the module is imported, which
 * gives the same instance, and looked through for the function; a runner that loads modules by itself has another instance, in
 * which the name must be that of a function.
 *
 * @throws TypeError when the function is no async function, or no export of a module
 */
export async function checkReference(fn: unknown): Promise<Reference> {
  if (shapeOf(fn) !== 'async') {
    throw new TypeError(`expected an async function that a module exports, got ${describe(fn)}.`)
  }
  const target = fn as { name: string }
  const before = known.get(target)
  if (before) return before
  const url = scriptOf(target)
  if (url === undefined) throw notExported(target.name, 'its script has no URL')
  const namespace = await importFor(target.name, url)
  const name =
    Object.keys(namespace).find((key) => namespace[key] === fn) ??
    (typeof namespace[target.name] === 'function' ? target.name : undefined)
  if (name === undefined) throw notExported(target.name, `${url} does not export it`)
  const reference = { url, name }
  known.set(target, reference)
  return reference
}

async function importFor(name: string, url: string): Promise<Record<string, unknown>> {
  try {
    return (await import(url)) as Record<string, unknown>
  } catch (error) {
    throw notExported(name, `${url} cannot be imported (${thrownText(error)})`)
  }
}

function notExported(name: string, why: string): TypeError {
  return new TypeError(
    `function ${name || '(without a name)'} cannot be found by another actor: ${why}. Functions for actors are exports of modules of their own, not of a test file.`,
  )
}

/** URL of the script that a function was made in. */
function scriptOf(fn: object): string | undefined {
  const urls = new Map<string, string>()
  const session = new Session()
  session.connect()
  const key = `harrow.reference.${Math.random()}`
  const holder = globalThis as Record<string, unknown>
  try {
    session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url))
    session.post('Debugger.enable')
    holder[key] = fn
    let scriptId: string | undefined
    session.post('Runtime.evaluate', { expression: `globalThis[${JSON.stringify(key)}]` }, (_, answer) => {
      const objectId = answer?.result?.objectId
      if (objectId === undefined) return
      session.post('Runtime.getProperties', { objectId, ownProperties: true }, (_, properties) => {
        const location = properties?.internalProperties?.find(({ name }) => name === '[[FunctionLocation]]')
        scriptId = (location?.value?.value as { scriptId?: string } | undefined)?.scriptId
      })
    })
    const url = scriptId === undefined ? undefined : urls.get(scriptId)
    if (!url || url.startsWith('node:')) return undefined
    return url.startsWith('/') ? pathToFileURL(url).href : url
  } finally {
    delete holder[key]
    session.disconnect()
  }
}
