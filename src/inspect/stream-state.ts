/** The state of a stream, read without running code of the user's. */
import { Server, Socket } from 'node:net'
import { Duplex, Readable, Stream, Transform, Writable } from 'node:stream'
import type { ReadableFact, StreamFact, WritableFact } from './wait-facts.ts'

/** A chain of pipes is followed this far. */
const LONGEST_PIPE = 8

/** Prototypes whose getters are Node's own; those of the state objects are found with the first stream. */
const NODE_PROTOTYPES = new Set<object>(
  [Readable, Writable, Duplex, Stream, Socket, Server].map(({ prototype }) => prototype as object),
)

/**
 * The value of a property: a field, or what a getter of Node's own streams answers. Getters of others are not called.
 */
export function readField(object: unknown, key: string | symbol): unknown {
  try {
    let holder = object as object | null
    for (let level = 0; level < 10 && (typeof holder === 'object' || typeof holder === 'function') && holder; level++) {
      const property = Object.getOwnPropertyDescriptor(holder, key)
      if (property !== undefined) {
        if (property.get === undefined) return property.value
        return NODE_PROTOTYPES.has(holder) ? Reflect.apply(property.get, object, []) : undefined
      }
      holder = Object.getPrototypeOf(holder) as object | null
    }
  } catch {
    // A proxy, or a state that is not what it looks like.
  }
  return undefined
}

const isTrue = (object: unknown, key: string): boolean => readField(object, key) === true
const numberIn = (object: unknown, key: string): number => {
  const value = readField(object, key)
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}

/** Class name of an object, '' when it has none. */
export function classOf(object: unknown): string {
  const name = readField(readField(object, 'constructor'), 'name')
  return typeof name === 'string' ? name : ''
}

/** State of a Node stream (also of the `readable-stream` package); undefined for anything else. */
export function readStream(value: unknown, depth = 0): StreamFact | undefined {
  const readable = readField(value, '_readableState')
  const writable = readField(value, '_writableState')
  if (!isObject(readable) && !isObject(writable)) return readMessage(value)
  for (const state of [readable, writable]) {
    // State objects answer through getters on a prototype of their own since Node 20.
    const prototype = isObject(state) ? (Object.getPrototypeOf(state) as object | null) : null
    if (prototype && prototype !== Object.prototype) NODE_PROTOTYPES.add(prototype)
  }
  const either = (key: string): boolean => isTrue(readable, key) || isTrue(writable, key)
  const fact: StreamFact = {
    name: classOf(value) || 'Stream',
    destroyed: either('destroyed') || isTrue(value, 'destroyed'),
    closed: either('closed'),
    errored: isObject(readField(readable, 'errored')) || isObject(readField(writable, 'errored')),
  }
  if (value instanceof Transform) fact.transform = true
  if (isObject(readable)) fact.readable = readableSide(value, readable)
  if (isObject(writable)) fact.writable = writableSide(writable)
  const into = depth < LONGEST_PIPE ? destinations(readable).find((stream) => isBusy(stream)) : undefined
  const next = into === undefined ? undefined : readStream(into, depth + 1)
  if (next !== undefined) fact.into = next
  return fact
}

/**
 * An HTTP message that is written and holds back (`http.OutgoingMessage`, which has no state of a stream: what it does
 * not keep itself is with its socket); undefined for one that takes what it is given, and for anything else.
 */
function readMessage(value: unknown): StreamFact | undefined {
  if (!Array.isArray(readField(value, 'outputData'))) return undefined
  const hidden = (name: string): unknown => {
    const symbol = Object.getOwnPropertySymbols(value as object).find(({ description }) => description === name)
    return symbol && readField(value, symbol)
  }
  const behind = readField(hidden('kSocket') ?? readField(value, 'socket'), '_writableState')
  const length = numberIn(value, 'outputSize') + numberIn(behind, 'length')
  if (hidden('kNeedDrain') !== true || length === 0) return undefined
  return {
    name: classOf(value) || 'OutgoingMessage',
    destroyed: isTrue(value, 'destroyed'),
    closed: isTrue(value, '_closed'),
    errored: false,
    writable: {
      length,
      highWaterMark: numberIn(behind, 'highWaterMark'),
      ended: isTrue(value, 'finished'),
      finished: false,
      needDrain: true,
      corked: false,
    },
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function readableSide(stream: unknown, state: object): ReadableFact {
  const flowing = readField(state, 'flowing')
  return {
    length: numberIn(state, 'length'),
    highWaterMark: numberIn(state, 'highWaterMark'),
    flowing: typeof flowing === 'boolean' ? flowing : null,
    ended: isTrue(state, 'ended'),
    endEmitted: isTrue(state, 'endEmitted'),
    readers: listeners(stream, 'data') + listeners(stream, 'readable') + destinations(state).length,
    pulled: listeners(stream, 'readable') > 0,
  }
}

function writableSide(state: object): WritableFact {
  return {
    length: numberIn(state, 'length'),
    highWaterMark: numberIn(state, 'highWaterMark'),
    ended: isTrue(state, 'ending') || isTrue(state, 'ended'),
    finished: isTrue(state, 'finished'),
    needDrain: isTrue(state, 'needDrain'),
    corked: numberIn(state, 'corked') > 0,
  }
}

function destinations(state: unknown): object[] {
  const pipes = readField(state, 'pipes')
  if (Array.isArray(pipes)) return pipes.filter(isObject)
  return isObject(pipes) ? [pipes] : []
}

/** Does this destination hold up what is piped into it? */
function isBusy(stream: unknown): boolean {
  const state = readField(stream, '_writableState')
  return isObject(state) && (isTrue(state, 'needDrain') || numberIn(state, 'length') > 0)
}

/** How many listen to an event. */
export function listeners(emitter: unknown, event: string): number {
  const table = readField(emitter, '_events')
  const one = isObject(table) || typeof table === 'function' ? readField(table, event) : undefined
  if (typeof one === 'function') return 1
  return Array.isArray(one) ? one.length : 0
}
