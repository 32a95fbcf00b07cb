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
    const code = `class Sem { async take(key) { ${body} } give() { const [one] = this.q; one(); } }`
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

test('who awaits what a method of a stored object gives does not wait for the object', () => {
  const bodies = [
    'gateway = new Gateway(); await gateway.started();',
    'gateway = new Gateway(); gateway.started().then(done);',
    'gateway = make(); const up = gateway.started(); await up;',
    'this.db = open(); await this.db.ready;',
    'this.all.set(key, make()); await this.all.get(key).up();',
  ]
  for (const body of bodies)
    expect(lock(`let gateway; async function start() { ${body} }`, 'start'), body).toBeUndefined()
})

test('several that wait for one promise which is made where there is none wait for no turn', () => {
  const memos = [
    'let p = this.m.get(k); if (p === undefined) { p = load(k); this.m.set(k, p); } return await p;',
    'let p = this.m.get(k); if (!p) { p = load(k); this.m.set(k, p); } return (await p);',
    'const p = this.m.get(k); if (p) return await p; const made = load(k); this.m.set(k, made); return await made;',
    'if (this.m.has(k)) return await this.m.get(k); const made = load(k); this.m.set(k, made); return await made;',
    'if (!this.p) this.p = load(k); return await this.p;',
    'if (this.p) return this.p; this.p = load(k); await this.p;',
  ]
  for (const body of memos) expect(lock(`class Memo { async get(k) { ${body} } }`, 'get'), body).toBeUndefined()
})

test('where all that wait are let go at once there is no turn, unless they ask again', () => {
  const wake = 'flush() { const now = this.q; this.q = []; for (const one of now) one(); }'
  const waits = 'await new Promise((resolve) => this.q.push(resolve));'
  expect(lock(`class Batch { async load() { ${waits} } ${wake} }`, 'load')).toBeUndefined()
  expect(
    lock(`class Event { async load() { ${waits} } emit() { this.q.forEach((go) => go()) } }`, 'load'),
  ).toBeUndefined()
  expect(lock(`class Lost { async load() { ${waits} } }`, 'load')).toBeUndefined()
  expect(
    lock(`class Gate { async take() { while (this.taken) ${waits} this.taken = true } ${wake} }`, 'take')?.[1],
  ).toBe('queue')
  expect(
    lock(`class Feed { next() { return new Promise((go) => this.q.push(go)) } put() { this.q.shift()() } }`, 'next'),
  ).toBeUndefined()
})

test('a lock that nobody can give back is one where it marks itself as taken', () => {
  const wait = 'await new Promise((resolve) => this.q.push(resolve));'
  expect(lock(`class L { async take() { if (this.taken) ${wait} this.taken = true; } }`, 'take')).toEqual([
    'L',
    'queue',
    ['take'],
    [],
  ])
  expect(lock(`class L { async take() { if (this.n >= this.max) { ${wait} } this.n++; } }`, 'take')?.[1]).toBe('queue')
  expect(lock(`class Log { async reached(n) { if (this.at >= n) return; ${wait} } }`, 'reached')).toBeUndefined()
})

test('what a lock hands out gives back, and what it runs itself does not', () => {
  const free = '#free() { const next = this.q.shift(); if (next) next(); else this.taken = false; }'
  const executor = `class Gate { lock() { return new Promise((resolve) => {
    const give = () => resolve(() => this.#free());
    if (this.taken) this.q.push(give); else { this.taken = true; give(); } }); } ${free} }`
  expect(lock(executor, 'lock')).toEqual(['Gate', 'queue', ['lock'], ['#free']])
  const returned = `class Gate { async lock() { if (this.taken) await new Promise((r) => this.q.push(r)); this.taken = true;
    return () => this.#free(); } ${free} }`
  expect(lock(returned, 'lock')).toEqual(['Gate', 'queue', ['lock'], ['#free']])
})

test('a resolve function that is made in what is put somewhere is not put there', () => {
  const code = `class Importer { run(queue) { queue.add(async () => { await new Promise((tick) => setImmediate(tick)); });
    return queue.onIdle(); } stop(queue) { queue.shift(); } }`
  expect(lock(code, 'run')).toBeUndefined()
})
