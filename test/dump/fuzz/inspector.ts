/** An inspector that answers what it likes. */
import { ProbeError } from '../../../src/errors.ts'
import type { Random } from './random.ts'
import { hostileText } from './snapshots.ts'
import { anyValue, damageValue } from './values.ts'

const object = (objectId: string): unknown => ({ result: { type: 'object', objectId } })

/** Answers of the right form, one for each call that a look at suspended functions makes. */
function fitting(method: string, byValue: boolean, random: Random): unknown {
  switch (method) {
    case 'Runtime.evaluate':
    case 'HeapProfiler.getObjectByHeapObjectId':
      return object(`${random.below(100)}`)
    case 'Runtime.queryObjects':
      return { objects: { objectId: '1' } }
    case 'HeapProfiler.getHeapObjectId':
      return { heapSnapshotObjectId: String(1 + 2 * random.below(200_000)) }
    case 'Runtime.callFunctionOn':
      return byValue ? { result: { type: 'string', value: stacks(random) } } : object('2')
    case 'Runtime.getProperties':
      return properties(random)
    default:
      return {}
  }
}

function stacks(random: Random): string {
  const frame = (): unknown[] => ['run', 'file:///app/a.ts', random.below(90), random.below(90), 1, 1]
  const rows = Array.from({ length: random.below(20) }, () => Array.from({ length: 1 + random.below(5) }, frame))
  const text = { stacks: rows, notes: [], promises: rows.length }
  try {
    return JSON.stringify(random.chance(0.3) ? text : damageValue(text, random)) ?? ''
  } catch {
    // Longer than a text can be: no patient can send it either.
    return ''
  }
}

function properties(random: Random): unknown {
  const preview = {
    type: 'object',
    description: 'Lock',
    overflow: true,
    properties: [{ name: 'held', type: 'boolean', value: 'true' }],
    entries: [{ key: { type: 'string', description: 'a' }, value: { type: 'number', description: '1' } }],
  }
  return {
    result: [
      { name: '0', value: { type: 'object', objectId: '7', description: 'Local (run)' } },
      { name: 'lock', value: { type: 'object', className: 'Lock', description: 'Lock', preview } },
      { name: hostileText(random), value: { type: 'string', value: hostileText(random) } },
    ],
    internalProperties: [
      { name: '[[GeneratorState]]', value: { type: 'string', value: 'suspended' } },
      { name: '[[GeneratorLocation]]', value: { value: { scriptId: '9', lineNumber: 3, columnNumber: 4 } } },
      { name: '[[Scopes]]', value: { objectId: '8' } },
    ],
  }
}

/** What a driver posts to; throws now and then, as a connection does. */
export function fakePost(random: Random): (method: string, params?: object) => unknown {
  const honesty = random.pick([0, 0.5, 0.9, 1])
  return (method, params) => {
    if (random.chance(0.05)) throw new ProbeError(hostileText(random))
    const answer = fitting(method, (params as { returnByValue?: boolean } | undefined)?.returnByValue === true, random)
    if (random.chance(honesty)) return answer
    return random.chance(0.5) ? damageValue(answer, random) : anyValue(random)
  }
}
