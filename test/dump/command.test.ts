import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import { renderDump } from '../../src/dump/render.ts'
import { RunRecord } from '../../src/dump/run-record.ts'
import { writeDump } from '../../src/dump/write.ts'
import { FAKE_TIMERS } from './sample-facts.ts'

const BIN = fileURLToPath(new URL('../../scripts/harrow.ts', import.meta.url))
const record = buildRecord(FAKE_TIMERS(), classify(FAKE_TIMERS()))

let root = ''
let json = ''
let txt = ''
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'harrow-command-'))
  const written = writeDump(root, { file: 'a.test.ts', test: 'b', pid: 1 }, record)
  if ('error' in written) throw new Error(written.error)
  ;({ json, txt } = written)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

async function harrow(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, ['--experimental-strip-types', '--no-warnings', BIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...env },
    timeout: 20_000,
    killSignal: 'SIGKILL',
  })
  const code = new Promise<number>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await code, out, err }
}

describe('harrow', () => {
  test('prints its usage and that of a command, without colour into a pipe', async () => {
    const main = await harrow(['--help'])
    expect(main).toMatchObject({ code: 0, err: '' })
    expect(main.out).toContain('dump')
    const dump = await harrow(['dump', '--help'])
    expect(dump.out).toContain('harrow dump [OPTIONS] [WHAT]')
    expect(main.out + dump.out).not.toContain('\u001b')
  })

  test('test refuses a log level that there is not, before anything runs', async () => {
    expect(await harrow(['test', '--ll', 'nope'])).toEqual({
      code: 2,
      out: '',
      err: expect.stringMatching(/^harrow: --ll expects one of critical, .*, got "nope"\n$/),
    })
  })

  test('prints its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    expect(await harrow(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' })
  })

  test.each([[[]], [['nothing']], [['constructor']]])('refuses %j with its usage', async (args) => {
    const { code, out, err } = await harrow(args)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(/^harrow: (no command given|unknown command)/)
    expect(err).toContain('USAGE')
  })
})

describe('harrow dump', () => {
  test('prints the text of a dump from its JSON form', async () => {
    expect(await harrow(['dump', json])).toEqual({ code: 0, out: readFileSync(txt, 'utf8'), err: '' })
  })

  test('prints the record with --json', async () => {
    const { code, out } = await harrow(['dump', json, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(out)).toEqual(record)
  })

  test('takes a list of dumps, as --json prints it for several processes', async () => {
    const list = join(root, 'list.json')
    writeFileSync(list, JSON.stringify([record, record]))
    const text = renderDump(record)
    expect(await harrow(['dump', list])).toEqual({ code: 0, out: `${text}\n${text}`, err: '' })
    expect(JSON.parse((await harrow(['dump', list, '--json'])).out)).toEqual([record, record])
  })

  test('draws with ASCII characters on request and where the locale is not UTF-8', async () => {
    const expected = renderDump(record, { ascii: true })
    expect((await harrow(['dump', '--ascii', json])).out).toBe(expected)
    expect((await harrow(['dump', json], { LC_ALL: 'C' })).out).toBe(expected)
  })

  test.each<[string, () => string[], string]>([
    ['a missing file', () => [join(root, 'gone.json')], 'there is no such file'],
    ['a folder', () => [root], 'the path of a dump ends in .json'],
    ['the text form', () => [txt], 'the .json file lies beside it'],
    [
      'another JSON file',
      () => [fileURLToPath(new URL('../../package.json', import.meta.url))],
      'package.json is no dump of harrow: format should be 1, but is missing',
    ],
    [
      'the record of a run',
      () => {
        const path = join(root, 'run.json')
        writeFileSync(path, JSON.stringify(new RunRecord({ run: 'a', backend: 'forks', strength: 'strong' })))
        return [path]
      },
      'run.json: it is the record of a run',
    ],
    ['no file', () => [], 'the .json FILE of a dump'],
    ['two files', () => [json, json], 'expected at most 1 argument'],
    ['an option for processes', () => [json, '--tree'], '--tree is for a process'],
    ['an unknown option', () => [json, '--colour'], 'unknown option --colour'],
  ])('refuses %s with one sentence and exit code 2', async (_name, args, words) => {
    const { code, out, err } = await harrow(['dump', ...args()])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(words)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
  })

  test('takes a closed pipe for no failure', async () => {
    const big = join(root, 'big.json')
    writeFileSync(
      big,
      JSON.stringify({ ...record, reproduce: Array.from({ length: 10_000 }, (_, i) => `command ${i}`.padEnd(100)) }),
    )
    const child = spawn(
      'sh',
      [
        '-c',
        '"$0" --experimental-strip-types --no-warnings "$1" dump "$2" | head -n 1; echo done',
        process.execPath,
        BIN,
        big,
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: 20_000,
      },
    )
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
    expect({ out, err }).toEqual({ out: 'harrow hang dump, format 1\ndone\n', err: '' })
  })
})
