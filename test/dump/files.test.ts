import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import { RunRecord } from '../../src/dump/run-record.ts'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { writeDump } from '../../src/dump/write.ts'
import { LOCK } from './sample-facts.ts'

const record = buildRecord(LOCK(), classify(LOCK()))
const PROGRAM = fileURLToPath(new URL('programs/write-dump.ts', import.meta.url))
/** Node 22 strips types only when asked to. */
const TYPES = ['--experimental-strip-types', '--no-warnings']

/** A mount namespace of its own; some systems do not allow that to everybody. */
const NAMESPACE = ['--user', '--map-root-user', '--mount']
const CAN_MOUNT = spawnSync('unshare', [...NAMESPACE, 'mount', '-t', 'tmpfs', 'none', tmpdir()]).status === 0

async function run(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 20_000, killSignal: 'SIGKILL' })
  const failed = once(child, 'error').then(() => ({ code: 127, output: '' }))
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  return Promise.race([failed, once(child, 'close').then(([code]) => ({ code, output }))])
}

const mode = (path: string): number => statSync(path).mode & 0o777

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'harrow-write-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function written(
  dir: string,
  name = { file: 'test/stock.test.ts', test: 'reserves stock', pid: 4812 },
): { txt: string; json: string } {
  const result = writeDump(dir, name, record)
  if ('error' in result) throw new Error(result.error)
  return result
}

describe('writing a dump', () => {
  test('makes both forms in a private folder, and nothing else', () => {
    const dir = join(root, '.harrow', 'dumps')
    const { txt, json } = written(dir)
    expect(txt).toBe(join(dir, 'stock.test.ts--reserves-stock--4812.1.txt'))
    expect(readdirSync(dir).sort()).toEqual([
      'stock.test.ts--reserves-stock--4812.1.json',
      'stock.test.ts--reserves-stock--4812.1.txt',
    ])
    expect([mode(dir), mode(dirname(dir)), mode(txt), mode(json)]).toEqual([0o700, 0o700, 0o600, 0o600])
    expect(parseDumpRecord(JSON.parse(readFileSync(json, 'utf8')))).toEqual(record)
    expect(readFileSync(txt, 'utf8')).toMatch(/^harrow hang dump, format 1\n/)
  })

  test.skipIf(process.platform !== 'linux')('says at once that a folder cannot be made', () => {
    const name = { file: 'a.test.ts', test: 'b', pid: 1 }
    expect(writeDump('/proc/nope', name, record)).toEqual({
      error: expect.stringMatching(
        /^could not write the dump \/proc\/nope\/.*: the folder does not exist and cannot be made/,
      ),
    })
  })

  test('never writes over a dump of an earlier run', () => {
    const first = written(root)
    const second = written(root)
    expect(second.txt).toBe(first.txt.replace('.1.txt', '.2.txt'))
  })

  test.each([
    '../../etc/passwd',
    '..',
    '/',
    'a\0b',
    '-rf *',
    'x'.repeat(5000),
    '試'.repeat(500),
    '',
    'CON: <|>"?*\n',
    '.hidden',
  ])('keeps the name %j inside the folder', (name) => {
    const dir = join(root, 'dumps')
    const { txt } = written(dir, { file: name, test: name, pid: 1 })
    expect(dirname(txt)).toBe(dir)
    const base = txt.slice(dir.length + 1)
    expect(Buffer.byteLength(base)).toBeLessThan(255)
    expect(base).not.toMatch(/^[.-]|\.\.|[\s/\\:*?"<>|\0]/)
    expect(readdirSync(root)).toEqual(['dumps'])
  })

  test('says in a sentence that a file is in the way of the folder', () => {
    writeFileSync(join(root, 'file'), '')
    for (const dir of [join(root, 'file'), join(root, 'file', 'dumps')]) {
      expect(writeDump(dir, { file: 'a', test: 'b', pid: 1 }, record)).toEqual({
        error: expect.stringMatching(
          /^could not write the dump .*: a part of the path is a file, not a folder \((ENOTDIR|EEXIST)\)$/,
        ),
      })
    }
  })

  test.each([
    ['a full disk', 'mount -t tmpfs -o size=64k none "$1"', 'the disk is full (ENOSPC)'],
    ['a read-only file system', 'mount -t tmpfs -o ro none "$1"', 'the file system is read-only (EROFS)'],
  ])('reports %s and leaves nothing half-written', { skip: !CAN_MOUNT }, async (_name, mount, reason) => {
    const script = `${mount} && exec "$2" --experimental-strip-types --no-warnings "$3" "$1"`
    const args = [...NAMESPACE, 'sh', '-c', script, 'sh', root, process.execPath, PROGRAM]
    const { output } = await run('unshare', args)
    expect(JSON.parse(output)).toEqual({
      dump: { error: `could not write the dump ${join(root, 'a.test.ts--b--1.1.txt')}: ${reason}` },
      record: `could not write the run record ${join(root, 'run.json')}: ${reason}`,
      left: [],
    })
  })

  test('reports a folder without permission', async () => {
    mkdirSync(join(root, 'locked'))
    chmodSync(root, 0o755)
    chmodSync(join(root, 'locked'), 0o555)
    const { output } = await run(process.execPath, [
      ...TYPES,
      PROGRAM,
      join(root, 'locked'),
      process.getuid?.() === 0 ? 'nobody' : '',
    ])
    const { dump, record, left } = JSON.parse(output)
    expect(dump.error).toMatch(/: no permission to write there \(EACCES\)$/)
    expect(record).toMatch(/: no permission to write there \(EACCES\)$/)
    expect(left).toEqual([])
  })

  test('removes the JSON form when the text form cannot be written', () => {
    const broken = { ...record, actors: [{ ...record.actors[0]!, tasks: null as unknown as [] }] }
    expect(writeDump(join(root, 'd'), { file: 'a', test: 'b', pid: 1 }, broken)).toHaveProperty('error')
    expect(readdirSync(join(root, 'd'))).toEqual([])
  })
})

describe('the run record', () => {
  const hang = {
    file: 'test/a.test.ts',
    test: ['a'],
    hook: null,
    phase: 'test',
    class: 'lost-promise',
    confidence: 'certain' as const,
    diagnosis: 'x',
    culprit: { path: 'test/a.test.ts', line: 4, column: 2 },
    waitedMs: 5012,
    dump: '.harrow/dumps/a.json',
  }
  const at = new Date('2026-11-20T14:03:07.412Z')

  test('has exactly the fields of the contract', () => {
    const run = new RunRecord({ run: '8f2c', backend: 'spawn', strength: 'basic', startedAt: at })
    run.addHang(hang)
    run.addLeak({
      file: 'f',
      test: ['t'],
      class: 'leaked-handle-after-tests',
      kind: 'Interval',
      count: 1,
      diagnosis: 'd',
    })
    run.addOrphan({
      file: 'f',
      test: null,
      class: 'orphan-process',
      pid: 1,
      command: 'sleep',
      action: 'SIGTERM',
      diagnosis: 'd',
    })
    run.end(at)
    expect(run.writeSync(join(root, 'new', 'run.json'))).toBeUndefined()
    const file = JSON.parse(readFileSync(join(root, 'new', 'run.json'), 'utf8'))
    expect(Object.keys(file)).toEqual([
      'format',
      'run',
      'startedAt',
      'endedAt',
      'backend',
      'strength',
      'hangs',
      'leaks',
      'orphans',
      'deltas',
    ])
    expect(file).toMatchObject({
      format: 1,
      run: '8f2c',
      startedAt: at.toISOString(),
      endedAt: at.toISOString(),
      hangs: [hang],
    })
    expect(mode(join(root, 'new', 'run.json'))).toBe(0o600)
  })

  test('is whole after every one of many writes, and leaves no temporary files', () => {
    const run = new RunRecord({ run: 'r', backend: 'spawn', strength: 'basic' })
    for (let i = 1; i <= 20; i++) {
      run.addHang(hang)
      expect(run.writeSync(join(root, 'run.json'))).toBeUndefined()
      const file = JSON.parse(readFileSync(join(root, 'run.json'), 'utf8'))
      expect(file.hangs).toHaveLength(i)
      expect(Date.parse(file.endedAt)).not.toBeNaN()
    }
    expect(readdirSync(root)).toEqual(['run.json'])
  })

  test('forgets the run before in watch mode', () => {
    const run = new RunRecord({ run: 'r', backend: 'spawn', strength: 'basic' })
    run.addHang(hang)
    run.interrupted(at)
    run.restart()
    expect(run.toJSON()).toMatchObject({ hangs: [], endedAt: null })
  })

  test('says in a sentence why it was not written', () => {
    mkdirSync(join(root, 'run.json'))
    const run = new RunRecord({ run: 'r', backend: 'spawn', strength: 'basic' })
    expect(run.writeSync(join(root, 'run.json'))).toMatch(
      /^could not write the run record .*: a folder is in the way \(EISDIR\)$/,
    )
    expect(readdirSync(root)).toEqual(['run.json'])
  })

  test('can be written while the process exits', async () => {
    const module = new URL('../../src/dump/run-record.ts', import.meta.url).href
    const code = `import { RunRecord } from ${JSON.stringify(module)}
      const run = new RunRecord({ run: 'r', backend: 'spawn', strength: 'basic' })
      process.on('exit', () => { run.interrupted(); run.writeSync(process.argv[1]) })
      process.exit(3)`
    const { code: exit } = await run(process.execPath, [
      ...TYPES,
      '--input-type=module',
      '-e',
      code,
      join(root, 'run.json'),
    ])
    expect(exit).toBe(3)
    expect(JSON.parse(readFileSync(join(root, 'run.json'), 'utf8')).run).toBe('r')
  })
})
