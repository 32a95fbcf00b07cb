/**
 * Recognises by its code whether a function makes its callers queue up: it stores a resolve function where another
 * function finds it, or it waits for the promise of the caller before it and leaves its own for the next one.
 */
import { blocksOf, type CodeBlock, functionAt, isWithin } from './code-outline.ts'
import { escaped, isLocal, lastName, word } from './code-words.ts'
import { chainStates } from './lock-chain.ts'
import type { ScriptText } from './script-text.ts'

/** A lock, semaphore, pool or limiter, as far as its code tells. */
export interface Primitive {
  script: ScriptText
  /** Class or factory, '' for functions of a module. */
  owner: string
  /** `queue`: stored resolve functions; `chain`: each waits for the promise of the one before. */
  style: 'queue' | 'chain'
  /** Functions that make their callers wait. */
  waiting: CodeBlock[]
  /** Functions that let the next one go on. */
  releasing: CodeBlock[]
  /** Is this function a part of it? */
  has(block: CodeBlock | null): boolean
  /** Is it written in the class of the lock, or a part of it? */
  near(block: CodeBlock | null): boolean
}

interface Shape {
  style: 'queue' | 'chain'
  /** Last names of what the resolve functions or promises are stored in: `waiting` for `this.waiting`. */
  states: string[]
  /** Functions beside it that do the storing. */
  helpers: CodeBlock[]
}

const STORE = '(?:push|unshift|add|set|enqueue|append|offer|insert|addLast|put)'
/** Takes one of those that wait, */
const TAKE_ONE = '(?:shift|pop|splice|delete|get|at|dequeue|take|poll|next|remove|removeFirst|find|findIndex|findLast)'
/** or all at once. */
const TAKE_ALL = '(?:values|entries|forEach|keys|clear|slice|filter|map)'
const SKIP = new Set(['constructor'])

/** The primitive that a function belongs to; undefined when the function makes nobody queue. */
export function primitiveOf(script: ScriptText, block: CodeBlock): Primitive | undefined {
  const shape = canWait(block) ? shapeOf(script, block) : undefined
  if (shape === undefined) return undefined
  const home = homeOf(block)
  const functions = [...blocksOf(home ?? scopeOf(block))].filter(({ kind }) => kind === 'function')
  const mentions = shape.states.map((state) => word(state))
  // Functions of one closure belong together by what they share; around them may be the code that uses them.
  const scope = scopeOf(block)
  const members =
    home !== null
      ? [home]
      : functions.filter(
          (one) =>
            one !== scope &&
            functionAbove(one) === (scope.kind === 'root' ? functionAbove(one) : scope) &&
            (one === block || shape.helpers.includes(one) || mentions.some((re) => re.test(script.code(one)))),
        )
  const has = (one: CodeBlock | null): boolean => one !== null && members.some((member) => isWithin(one, member))
  const inside = functions.filter(has)
  const waiting = inside.filter((one) => canWait(one) && shapeOf(script, one) !== undefined)
  const isChain = shape.style === 'chain'
  const takers = isChain ? [] : takersOf(script, shape.states, has, home ?? scope)
  // Where all that wait are let go at once, or nobody is ever, there are no turns: a batch, an event, an answer.
  const allStates = [...new Set(waiting.flatMap((one) => shapeOf(script, one)?.states ?? []))]
  const turns = isChain || takersOf(script, allStates, has, home ?? scope, true).length > 0
  if (!turns && !(takers.length === 0 ? marksTaken(script, waiting) : asksAgain(script, waiting))) return undefined
  const releasing = takers.filter((one) => !waiting.includes(one))
  // A helper that the waiting functions call too lets nobody go by itself: those who call it for that do.
  const helpers = releasing.filter(
    (one) => one.name !== '' && waiting.some((by) => callsTo(script, by, [one.name], handedOutBy(script, by))),
  )
  const direct = releasing.filter((one) => !helpers.includes(one))
  const names = helpers.map(({ name }) => name)
  const callers = inside.filter(
    (one) =>
      !waiting.includes(one) &&
      !helpers.includes(one) &&
      !SKIP.has(one.name) &&
      callsTo(script, one, names) &&
      waiting.every((by) => !isWithin(one, by) || handedOutBy(script, by).includes(one)),
  )
  const all = [...waiting, ...releasing, ...callers, ...shape.helpers]
  return {
    script,
    owner: home?.name || (scope.kind === 'function' ? scope.name : ''),
    style: shape.style,
    waiting,
    releasing: [...new Set([...direct, ...callers])],
    near: has,
    // A class may use the lock that it is: methods that touch nothing of it are using code.
    has: (one) =>
      has(one) &&
      (home === null ||
        all.some((part) => isWithin(one!, part)) ||
        touches(script, methodAround(one!, home), mentions)),
  }
}

/** Whoever asks an iterator for its next item waits for that, and not for a turn. */
function canWait({ name }: CodeBlock): boolean {
  return !SKIP.has(name) && name !== 'next'
}

/** The method of a class that a function is, or is written in. */
function methodAround(block: CodeBlock, home: CodeBlock): CodeBlock {
  let method = block
  for (let one: CodeBlock | null = block; one !== null && one !== home; one = one.parent) {
    if (one.kind === 'function') method = one
  }
  return method
}

function touches(script: ScriptText, block: CodeBlock, mentions: readonly RegExp[]): boolean {
  return mentions.some((re) => re.test(script.code(block)))
}

/**
 * Does the code of a function call one of these, as a function or as a method?
 *
 * @param without functions in it whose code does not count
 */
export function callsTo(
  script: ScriptText,
  block: CodeBlock,
  names: readonly string[],
  without: readonly CodeBlock[] = [],
): boolean {
  if (names.length === 0) return false
  let code = inner(script, block)
  for (const { from, end } of without) {
    code = code.slice(0, from - block.start) + ' '.repeat(end - from) + code.slice(end - block.start)
  }
  return new RegExp(`(?:^|[^\\w$])(?:${names.map(escaped).join('|')})(?:\\?\\.)?\\s*\\(`).test(code)
}

/** Functions in the code of a waiting one that its caller gets, and runs when it likes: what gives back. */
function handedOutBy(script: ScriptText, waiting: CodeBlock): CodeBlock[] {
  const resolvers = resolversIn(inner(script, waiting)).map(escaped)
  const to = new RegExp(
    `(?:\\breturn|(?<![\\w$.])(?:${['(?!)', ...resolvers].join('|')})\\s*\\()\\s*\\(?\\s*(?:\\{[^{}]*)?$`,
  )
  return [...blocksOf(waiting)].filter(
    (one) => one !== waiting && one.kind === 'function' && to.test(script.plain.slice(waiting.start, one.from)),
  )
}

/**
 * Does a function call a function that it was given?
 *
 * @param only place of the parameter in question; all of them when it is not given
 */
export function callsBack(script: ScriptText, block: CodeBlock, only?: number, deep = 2): boolean {
  const names = block.params.split(',').map((param) => /^\s*(?:\.\.\.)?([\w$]+)/.exec(param)?.[1] ?? '')
  const code = inner(script, block)
  return names.some((name, place) => {
    if (name === '' || (only !== undefined && place !== only)) return false
    if (new RegExp(`${word(name).source}\\s*\\(|\\.then\\(\\s*${escaped(name)}(?![\\w$])`).test(code)) return true
    if (deep === 0) return false
    // Handed on to a function beside it that calls it.
    const passed = new RegExp(`([\\w$#]+)\\s*\\(((?:[^();]*,)?)\\s*${escaped(name)}\\s*[,)]`, 'g')
    return [...code.matchAll(passed)].some((match) => {
      const helper = siblingNamed(block, match[1]!)
      if (helper === undefined || helper === block) return false
      return callsBack(script, helper, match[2]!.split(',').length - 1, deep - 1)
    })
  })
}

function inner(script: ScriptText, block: CodeBlock): string {
  return script.plain.slice(block.start, block.end)
}

const shapes = new WeakMap<CodeBlock, Shape | null>()

function shapeOf(script: ScriptText, block: CodeBlock): Shape | undefined {
  let known = shapes.get(block)
  if (known === undefined) {
    known = readShape(script, block) ?? null
    shapes.set(block, known)
  }
  return known ?? undefined
}

function readShape(script: ScriptText, block: CodeBlock): Shape | undefined {
  // The innermost function counts, not the factory or the test around it.
  for (const below of blocksOf(block)) {
    if (below !== block && below.kind === 'function' && shapeOf(script, below) !== undefined) return undefined
  }
  const code = inner(script, block)
  // First: who waits for the one before may well keep a resolve function, too.
  const chain = chainStates(code)
  if (chain.length > 0) return { style: 'chain', states: chain, helpers: [] }
  const queue = queueStates(script, block, code)
  return queue.states.length > 0 ? { style: 'queue', ...queue } : undefined
}

/** What the resolve functions that are made in this code are stored in. */
function queueStates(script: ScriptText, block: CodeBlock, code: string): Pick<Shape, 'states' | 'helpers'> {
  const resolvers = resolversIn(code)
  if (resolvers.length === 0) return { states: [], helpers: [] }
  const stored = storesOf(code, resolvers, block.name !== '')
  if (stored.length > 0) return { states: stored, helpers: [] }
  // Given to a function beside this one, which stores it.
  const any = resolvers.map(escaped).join('|')
  for (const match of code.matchAll(new RegExp(`([\\w$#]+)\\s*\\([^;{}()]*\\b(?:${any})\\b`, 'g'))) {
    const helper = siblingNamed(block, match[1]!)
    if (helper === undefined || helper === block) continue
    const names = helper.params.match(/[\w$]+/g) ?? []
    const inHelper = names.length === 0 ? [] : storesOf(inner(script, helper), names, true)
    if (inHelper.length > 0) return { states: inHelper, helpers: [helper] }
  }
  return { states: [], helpers: [] }
}

function resolversIn(code: string): string[] {
  const found = new Set<string>()
  for (const match of code.matchAll(/new\s+Promise\s*\(\s*(?:async\s*)?(?:function\s*[\w$]*\s*)?\(?\s*([\w$]+)/g)) {
    if (match[1] !== 'function') found.add(match[1]!)
  }
  for (const match of code.matchAll(/\{([^{}]*)\}\s*=\s*[\w$.]*\bwithResolvers\b/g)) {
    const alias = /\bresolve\s*(?::\s*([\w$]+))?/.exec(match[1]!)
    if (alias) found.add(alias[1] ?? 'resolve')
  }
  for (const match of code.matchAll(
    /([\w$]+)\s*=\s*(?:[\w$.]*\bwithResolvers\b|[^;=]*\b[Dd]efer(?:red)?\s*(?:<[^>]*>)?\s*\()/g,
  )) {
    found.add(match[1]!)
  }
  for (const match of code.matchAll(/\b([\w$]+)\.promise\b/g)) if (match[1] !== 'this') found.add(match[1]!)
  // One step on: `const waiter = { resolve, since }`, `const go = () => resolve(client)`.
  const any = (): string => [...found].map(escaped).join('|')
  if (found.size > 0) {
    const carrier = new RegExp(
      `(?:const|let|var)\\s+([\\w$]+)\\s*=\\s*(?!new\\s+Promise|await\\b)[^;]*\\b(?:${any()})\\b`,
      'g',
    )
    for (const match of code.matchAll(carrier)) found.add(match[1]!)
    const functions = new RegExp(
      `(?:const|let|var)\\s+([\\w$]+)\\s*=\\s*(?:async\\s*)?\\(?[\\w$,\\s]*\\)?\\s*=>\\s*\\{[^{}]*\\b(?:${any()})\\b`,
      'g',
    )
    for (const match of code.matchAll(functions)) found.add(match[1]!)
  }
  return [...found]
}

/**
 * Collections, fields and outer variables in which one of these names is put.
 *
 * @param variables also plain variables; those of a function without a name are its caller's
 */
function storesOf(code: string, names: readonly string[], variables: boolean): string[] {
  const any = names.map(escaped).join('|')
  const states = new Set<string>()
  for (const match of code.matchAll(
    new RegExp(`([\\w$#]+)(?:\\([^()]*\\)|\\[[^\\]]*\\])?[?!]?\\.${STORE}\\s*\\([^;]*?(?<![.\\w$])(?:${any})\\b`, 'g'),
  )) {
    const name = /[\w$]+$/.exec(match[0])![0]
    // It is made in a function that is put there, and is nobody else's.
    if (new RegExp(`new\\s+Promise\\s*\\(\\s*(?:async\\s*)?\\(?\\s*${escaped(name)}\\b`).test(match[0])) continue
    states.add(match[1]!)
  }
  const assign = new RegExp(
    `(^|[^\\w$.#])((?:this|[\\w$]+)(?:\\.[\\w$#]+|\\[[^\\]]*\\])*)\\s*=(?![=>])\\s*(?:\\{[^;{}]*\\b)?(?:${any})\\b(?!\\s*[.(])`,
    'g',
  )
  for (const match of code.matchAll(assign)) {
    const path = match[2]!
    const before = code.slice(0, (match.index ?? 0) + match[1]!.length)
    if (/\b(?:const|let|var)\s+$/.test(before)) continue
    if (!/[.[]/.test(path) && (!variables || isLocal(code, path))) continue
    states.add(lastName(path))
  }
  return [...states]
}

/**
 * Innermost functions in which something is taken from where the waiting ones are stored.
 *
 * @param one only what takes a single one of them
 */
function takersOf(
  script: ScriptText,
  states: readonly string[],
  has: (one: CodeBlock) => boolean,
  within: CodeBlock,
  one = false,
): CodeBlock[] {
  const any = `(?<![\\w$])(?:${states.map(escaped).join('|')})`
  const held = `${any}(?:\\([^()]*\\)|\\[[^\\]]*\\])?[?!]?\\.`
  const single = [
    `${held}(?!splice\\(\\s*0\\s*\\))${TAKE_ONE}\\s*\\(`,
    `${held}values\\(\\)\\s*\\.next\\(`,
    `${any}\\[[^\\]]*\\]`,
    `${any}\\??\\.?\\(`,
    `${any}\\??\\.resolve\\b`,
    `\\[[^\\]]*\\]\\s*=\\s*(?:this\\.)?${any}`,
  ]
  const alias = `(?<alias>=\\s*(?:this\\.)?${any}[ \\t]*(?:[;,]|\\n|$))`
  const renewed = new RegExp(`${any}\\s*=\\s*(?:\\[\\s*\\]|\\{\\s*\\}|new\\s+(?:Set|Map|Array)\\b)`)
  const all = [`${held}(?:splice|${TAKE_ALL})\\s*\\(`, `\\bof\\s+[^;{]*?${any}\\b`]
  const take = new RegExp([...single, alias, ...(one ? [] : all)].join('|'), 'g')
  const found = new Set<CodeBlock>()
  const code = script.plain.slice(within.from, within.end)
  for (const match of code.matchAll(take)) {
    const at = within.from + match.index
    let block = functionAt(script.root, at)
    // A list is taken as a whole where a new one takes its place; else it is a variable with the one that waits.
    if (one && match.groups?.alias && block && renewed.test(script.plain.slice(at, block.end))) continue
    // `for (const next of queue) next()` in a callback without a name is its function's doing.
    while (block !== null && block.name === '' && functionAbove(block) !== null && has(functionAbove(block)!)) {
      if (isReturned(script, block)) break
      block = functionAbove(block)
    }
    if (block !== null && has(block) && !SKIP.has(block.name)) found.add(block)
  }
  return [...found]
}

/** Who waits only where something says that it is taken, and says so itself: a lock, though nobody has written how to give it back. */
function marksTaken(script: ScriptText, waiting: readonly CodeBlock[]): boolean {
  return waiting.some((one) => {
    const code = inner(script, one)
    return [...code.matchAll(/\b(?:if|while)\s*\(([^{}]*?)\)/g)].some(([, condition]) =>
      (condition!.match(/(?:this\.)?[\w$#]+/g) ?? []).some((name) =>
        new RegExp(`(?<![\\w$.#])${escaped(name)}\\s*(?:=(?![=>])|\\+\\+|--|[+-]=)`).test(code),
      ),
    )
  })
}

/** Who asks again once it is woken. */
function asksAgain(script: ScriptText, waiting: readonly CodeBlock[]): boolean {
  return waiting.some((one) => {
    const code = inner(script, one)
    return /\bwhile\s*\(|\bfor\s*\(\s*;/.test(code) || (one.name !== '' && callsTo(script, one, [one.name]))
  })
}

/** A function that is handed out: the caller decides when it runs. */
function isReturned(script: ScriptText, block: CodeBlock): boolean {
  return /(?:\breturn\s*\(?|[(:,]\s*)$/.test(script.plain.slice(Math.max(0, block.from - 30), block.from))
}

/** The class or the object literal that a function is a method of. */
function homeOf(block: CodeBlock): CodeBlock | null {
  for (let one = block.parent; one !== null; one = one.parent) {
    if (one.kind === 'class') return one
    if (one.kind === 'object' && one === block.parent && scopeOf(one).kind === 'root') return one
  }
  return null
}

/** The function around a block, or the module; vite wraps a module in a function with a block, which counts as one. */
function scopeOf(block: CodeBlock): CodeBlock {
  const above = functionAbove(block)
  if (above !== null) return above
  let root = block
  while (root.parent !== null) root = root.parent
  return root
}

function functionAbove(block: CodeBlock): CodeBlock | null {
  for (let one = block.parent; one !== null; one = one.parent) if (one.kind === 'function') return one
  return null
}

/** The function with this name nearest to a block. */
function siblingNamed(block: CodeBlock, name: string): CodeBlock | undefined {
  for (let one = block.parent; one !== null; one = one.parent) {
    for (const candidate of blocksOf(one))
      if (candidate.kind === 'function' && candidate.name === name) return candidate
  }
  return undefined
}
