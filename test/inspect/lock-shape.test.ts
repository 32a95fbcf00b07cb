import { expect, test } from 'vitest'
import { blocksOf } from '../../src/inspect/code-outline.ts'
import { callsBack, primitiveOf } from '../../src/inspect/lock-shape.ts'
import { ScriptText } from '../../src/inspect/script-text.ts'

/** What is known of the lock that the function with this name belongs to. */
function lock(code: string, name: string) {
  const script = new ScriptText('/a.js', code)
  const block = [...blocksOf(script.root)].find((one) => one.kind === 'function' && one.name === name)
  const primitive = block && primitiveOf(script, block)
  if (!primitive) return undefined
  const { owner, style, waiting, releasing } = primitive
  return [owner, style, waiting.map((one) => one.name), releasing.map((one) => one.name)]
}

test('a class that stores resolve functions and takes them out elsewhere is a queue', () => {
  const code = `class Pool {
    idle = []; waiters = [];
    connect() {
      const client = this.idle.pop();
      if (client) return Promise.resolve(client);
      return new Promise((resolve) => this.waiters.push(resolve));
    }
    put(client) { const next = this.waiters.shift(); if (next) next(client); else this.idle.push(client); }
  }`
  expect(lock(code, 'connect')).toEqual(['Pool', 'queue', ['connect'], ['put']])
  expect(lock(code, 'put')).toBeUndefined()
})

test('the stored function may be wrapped in an object or another function, or be part of a deferred', () => {
  const waiting = [
    'return new Promise((resolve, reject) => { this.q.push({ resolve, since: 1 }); });',
    'return new Promise((done) => { const go = () => { this.n++; done(); }; this.q.add(go); });',
    'const { promise, resolve: go } = Promise.withResolvers(); this.q.set(key, go); await promise;',
    'const gate = Promise.withResolvers(); this.q.push(gate); await gate.promise;',
    'const d = new Deferred(); this.q.unshift(d); return d.promise;',
  ]
  for (const body of waiting) {
    const code = `class Sem { async take(key) { ${body} } give() { for (const one of this.q) one(); } }`
    expect(lock(code, 'take'), body).toEqual(['Sem', 'queue', ['take'], ['give']])
  }
})

test('functions of a closure belong together by what they share', () => {
  const code = `function createLimit(slots) {
    let running = 0; const queue = [];
    const next = () => { running--; queue.shift()?.(); };
    const log = () => slots;
    return async function limit(task) {
      if (running >= slots) await new Promise((resolve) => queue.push(resolve));
      try { return await task(); } finally { next(); }
    };
  }`
  expect(lock(code, 'limit')?.slice(0, 3)).toEqual(['createLimit', 'queue', ['limit']])
  expect(lock(code, 'log')).toBeUndefined()
})

test('who waits for the promise of the one before and leaves its own is a chain', () => {
  const chains = {
    acquire: `class M { tail = 0; async acquire() {
      const { promise, resolve } = Promise.withResolvers(); const before = this.tail; this.tail = promise;
      await before; return resolve; } }`,
    run: 'class M { run(task) { const r = this.last.then(task); this.last = r.catch(() => {}); return r; } }',
    with: `class M { tails = new Map(); async with(key, fn) {
      const previous = this.tails.get(key) ?? Promise.resolve(); let done;
      this.tails.set(key, previous.then(() => new Promise((r) => (done = r)))); await previous; return fn(); } }`,
    lock: `let current = null; async function lock() { while (current) await current; let done;
      current = new Promise((resolve) => { done = resolve; }); return done; }`,
  }
  for (const [name, code] of Object.entries(chains)) expect(lock(code, name)?.[1], name).toBe('chain')
})

test('a promise whose resolve function is stored nowhere is no lock', () => {
  const bodies = [
    'return new Promise((resolve) => { if (hit) return hit; setTimeout(() => resolve(1), 10); });',
    "return new Promise((resolve) => { signal.addEventListener('abort', () => resolve(1)); });",
    'const { promise, resolve } = Promise.withResolvers(); setTimeout(resolve, 5); await promise;',
    'const p = new Promise((resolve) => server.close(() => resolve())); await p;',
    'let done; const p = new Promise((resolve) => { done = resolve; }); await p;',
    'this.count = this.count + 1; await this.db.query();',
  ]
  for (const body of bodies) expect(lock(`class A { async read() { ${body} } }`, 'read'), body).toBeUndefined()
})

test('a function that calls what it was given is known, also through a helper', () => {
  const code = `const enqueue = (fn, resolve) => { queue.push(() => run(fn, resolve)) };
    const run = async (fn, resolve) => { resolve(fn()) };
    const limit = (fn) => new Promise((resolve) => enqueue(fn, resolve));
    async function keep(key) { await keyed(key, async () => {}) }
    async function keyed(key, fn) { return fn() }`
  const script = new ScriptText('/a.js', code)
  const calls = [...blocksOf(script.root)].filter((one) => one.name !== '' && callsBack(script, one))
  expect(calls.map(({ name }) => name)).toEqual(['enqueue', 'run', 'limit', 'keyed'])
})
