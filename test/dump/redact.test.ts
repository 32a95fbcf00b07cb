import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts, OtherThread } from '../../src/dump/facts.ts'
import { isSecretName, Redactor, redactLocal, redactText } from '../../src/dump/redact.ts'
import { hangBlockOf, renderHangBlock } from '../../src/dump/render.ts'
import { RunRecord } from '../../src/dump/run-record.ts'
import { writeDump } from '../../src/dump/write.ts'
import { factsOf, frame, heldBy, suspended } from './sample-facts.ts'
import { child, kernel, stream } from './waits.ts'

describe('redaction by name', () => {
  test.each([
    'password',
    'dbPasswd',
    'clientSecret',
    'accessToken',
    'apiKey',
    'API_KEY',
    'api-key',
    'Authorization',
    'cookie',
    'credentials',
    'privateKey',
    'PRIVATE_KEY',
    'sessionId',
    'JWT',
    'AWS_ACCESS_KEY_ID',
    'connectionString',
    'X-Amz-Signature',
  ])('hides %s', (name) => {
    expect(redactLocal(name, 'x')).toBe('[redacted]')
  })

  test.each(['name', 'key', 'path', 'author', 'passed'])('shows %s', (name) => {
    expect(redactLocal(name, 'x')).toBe('x')
  })

  test('hides names of the user, given as patterns or as their source', () => {
    expect(isSecretName('IBAN', ['iban'])).toBe(true)
    expect(isSecretName('customerId', [/^customer/g])).toBe(true)
    expect(isSecretName('customerId', ['^customer'])).toBe(true)
    expect(isSecretName('a(b', ['(b'])).toBe(true)
    expect(isSecretName('other', ['iban', ''])).toBe(false)
  })
})

describe('redaction inside texts', () => {
  test.each([
    ['psql --password=hunter2 -h db', 'psql --password=[redacted] -h db'],
    ['run --token hunter2 x', 'run --token [redacted] x'],
    ['API_KEY=hunter2 node x.js', 'API_KEY=[redacted] node x.js'],
    ["curl -H 'Authorization: Bearer hunter2hunter2'", "curl -H 'Authorization: [redacted]'"],
    ['Bearer hunter2hunter2', 'Bearer [redacted]'],
    ['postgres://ann:hunter2@db/x', 'postgres://ann:[redacted]@db/x'],
    ['https://:hunter2@host/', 'https://:[redacted]@host/'],
    ["await login({ password: 'hunter2', name: 'ann' })", "await login({ password: '[redacted]', name: 'ann' })"],
    ['{"apiKey":"hunter2"}', '{"apiKey":"[redacted]"}'],
    ['https://x.example/?token=hunter2&page=2', 'https://x.example/?token=[redacted]&page=2'],
    ['key ghp_abcdefghijklmnopqrstuvwxyz0123', 'key [redacted]'],
    ['Server=db;Password=hunter2;Port=1', 'Server=db;Password=[redacted];Port=1'],
    ['Cookie: sid=hunter2; a=b', 'Cookie: [redacted]'],
    ['https://x.example/f?X-Amz-Signature=abcdef&b=1', 'https://x.example/f?X-Amz-Signature=[redacted]&b=1'],
  ])('%s', (text, expected) => {
    expect(redactText(text)).toBe(expected)
  })

  // Put together here, so that no tool takes this file for a leak.
  const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'
  test.each([
    ['ghs', `_${letters}`],
    ['github_pat', `_${letters}`],
    ['glpat', `-${letters}`],
    ['xoxb', `-123-${letters}`],
    ['xapp', `-1-${letters}`],
    ['npm', `_${letters}`],
    ['sk_live', `_${letters}`],
    ['rk_test', `_${letters}`],
    ['whsec', `_${letters}`],
    ['sk-proj', `-${letters}`],
    ['hf', `_${letters}`],
    ['AKIA', 'ABCDEFGHIJKLMNOP'],
    ['ASIA', 'ABCDEFGHIJKLMNOP'],
    ['AIza', `Sy${letters}`],
    ['SG', `.${letters}.${letters}`],
    ['hooks.slack.com', `/services/T00/B00/${letters}`],
    ['eyJ', `hbGciOiJIUzI1NiJ9.${letters}.${letters}`],
    ['-----BEGIN RSA', ` PRIVATE KEY-----\n${letters}\n-----END RSA PRIVATE KEY-----`],
  ])('tells a secret by its beginning: %s', (beginning, rest) => {
    expect(redactText(`before ${beginning}${rest} after`)).toBe('before [redacted] after')
  })

  test.each([
    'const token = await getToken()',
    'while (token === undefined) {}',
    'if (password == null) return',
    'await server.close()',
    'node --test-name-pattern=token file.js',
    'http://127.0.0.1:8080/a@b',
    'await sessionStore.get(id)',
    'const sk_live = task_test.name',
    'hooks.slack.com is down',
  ])('leaves %s alone', (text) => {
    expect(redactText(text)).toBe(text)
  })

  test('is the same when done twice, and counts once', () => {
    const redactor = new Redactor()
    const once = redactor.text("--password=x Authorization: Bearer abcdefgh, { secret: 'y' } http://a:b@c")
    expect(redactor.text(once)).toBe(once)
    expect(redactor.count).toBe(4)
  })
})

describe('a secret that lies in the facts', () => {
  /** Each place has its own, so that a failure tells which one got through. */
  const secret = (place: string): string => `ghp_${place.padEnd(30, 'x')}`
  const at = (place: string) =>
    frame('run', 'src/a.ts:3:5', `await call(${secret(`${place}source`)})`, {
      next: secret(`${place}next`),
      locals: { value: secret(`${place}local`), password: `${place}plain` },
    })
  const task = {
    id: 'root/1',
    kind: 'task' as const,
    name: secret('taskname'),
    state: 'parked' as const,
    wait: { reason: 'event', on: secret('taskon'), by: secret('taskby'), sinceMs: 5 },
    created: null,
    children: [],
  }
  const actor = {
    name: 'root',
    path: 'root',
    backend: 'spawn',
    pid: 1,
    answered: true,
    cancelled: false,
    tasks: [task],
    children: [],
  }
  const other: OtherThread = {
    label: `child 7 \`node --token ${secret('otherlabel')}\``,
    pid: 7,
    threadId: 0,
    state: 'blocked',
    sync: { frames: [at('othersync')], second: [at('othersecond')], microtasks: 'still' },
    awaits: [suspended(5, at('otherawait'), { heldBy: [heldBy('Map', `a.get("${secret('otherheld')}")`)] })],
    kernel: [secret('otherkernel')],
    notes: [secret('othernote')],
  }
  const facts = (changes: Partial<HangFacts> = {}): HangFacts =>
    factsOf({
      awaits: [
        suspended(1, at('await'), {
          heldBy: [heldBy('Registry', `Registry.pending.get("${secret('heldpath')}")`, { event: secret('heldevent') })],
        }),
      ],
      crumb: { call: 'execSync', detail: secret('crumb'), sinceMs: 1, frames: [at('crumb')] },
      kernel: [secret('kernel')],
      stackError: secret('stackerror'),
      lost: { proven: true, created: [at('created')], awaited: [at('awaited')], note: secret('lostnote') },
      locks: {
        waits: [
          {
            lock: secret('lockname'),
            style: 'queue',
            method: secret('lockmethod'),
            inner: [at('lockinner')],
            call: at('lockcall'),
            outer: [at('lockouter')],
            holders: [{ taken: at('locktaken'), missing: 1, by: 'left' }],
          },
        ],
        others: [at('lockothers')],
      },
      fakeTimers: { on: true, pending: 1, installed: [at('faketimers')] },
      handles: [{ id: 1, kind: 'Socket', what: secret('handle'), ref: true, ageMs: 1, created: [at('handle')] }],
      waitedFor: {
        objects: [
          {
            id: 1,
            name: 'Server',
            asyncIds: [],
            server: { port: null, path: secret('serverpath'), listening: true, connections: 1 },
          },
        ],
        children: [
          child({
            command: `node job.js --key ${secret('childcommand')}`,
            kernel: kernel({ doing: secret('childdoing') }),
            stdio: [{ part: 'stdin', stream: stream('Socket') }],
            users: [{ pid: 8, command: secret('childuser'), part: 'stdin', does: 'holds' }],
          }),
        ],
        sockets: [],
        signals: [{ pid: 4912, signal: 'SIGTERM', at: 1, frames: [at('signal')] }],
        fetches: [{ port: 1, at: 1, frames: [at('fetch')] }],
      },
      actors: { ...actor, children: [{ ...actor, name: 'b', path: 'root/b' }] },
      others: [other],
      processes: [
        { pid: 9, ppid: 1, state: 'S', command: secret('process') } as unknown as HangFacts['processes'][number],
      ],
      missing: [secret('missing')],
      budgets: [secret('budget')],
      ...changes,
    })
  const blocked = facts({
    loop: 'blocked',
    awaits: null,
    sync: { frames: [at('sync')], second: [at('second')], microtasks: 'still' },
  })

  test.each<[string, HangFacts]>([
    ['an idle worker', facts()],
    ['an idle worker without a run again', facts({ lost: null, locks: undefined as never, crumb: null })],
    ['a blocked worker', blocked],
    ['a worker in a system call', { ...blocked, sync: null }],
  ])('reaches no file and no terminal: %s', (_what, hang) => {
    const dir = mkdtempSync(join(tmpdir(), 'harrow-redact-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    const clean = new Redactor().facts(hang)
    // Once as the harness does it, and once with a verdict that read the facts as they were.
    for (const verdict of [classify(clean), classify(hang)]) {
      const record = buildRecord(hang, verdict)
      const written = writeDump(dir, { file: 'a.test.ts', test: 'b', pid: 1 }, record)
      expect(written).not.toHaveProperty('error')
      const run = new RunRecord({ run: 'r', backend: 'spawn', strength: 'basic' })
      const { diagnosis, confidence } = record.verdict
      run.addHang({
        ...{ file: 'a.test.ts', test: ['b'], hook: null, phase: 'test', waitedMs: 1, dump: null },
        ...{ class: record.verdict.class, confidence, diagnosis },
      })
      expect(run.writeSync(join(dir, 'run.json'))).toBeUndefined()
      const block = renderHangBlock(hangBlockOf(record, 'a.txt'))
      const files = readdirSync(dir)
      const texts = files.map((name) => readFileSync(join(dir, name), 'utf8'))
      expect(texts.join('')).toContain('[redacted]')
      const found = [block, ...texts].join('\n').match(/ghp_\w+|\w+plain\b/g)
      expect([...new Set(found)]).toEqual([])
      for (const name of files) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600)
    }
  })

  test('is not the environment: of it nothing is in the facts', () => {
    const record = JSON.stringify(buildRecord(facts(), classify(facts())))
    expect(process.env.PATH).toBeTruthy()
    expect(record).not.toContain(process.env.PATH)
  })
})
