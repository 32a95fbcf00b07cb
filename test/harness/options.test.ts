import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../../harness/options.ts'
import { UsageError } from '../../src/errors.ts'

describe('options', () => {
  test('has a default for everything', () => {
    const options = resolveOptions()
    expect(options.hang).toMatchObject({
      grace: 1000,
      blocked: 10_000,
      collect: 60_000,
      others: 3000,
      rerunRest: true,
      lost: 'rerun',
    })
    expect(options.dumpDir).toBe('.harrow/dumps')
    expect(options).toMatchObject({ leaks: 'warn', orphans: 'warn', orphanGrace: 500, ignoreLeaks: [] })
  })

  test.each([
    [
      { hnag: {} },
      /no option "hnag"\. Did you mean "hang"\? Valid options: hang, orphans, orphanGrace, leaks, ignoreLeaks, dumpDir, redact, header, compileCache/,
    ],
    [{ hang: { gracee: 1 } }, /no option "gracee"\. Did you mean "grace"\?.*grace, blocked, collect/],
    [{ hang: { grace: '1s' } }, /"hang\.grace" expects milliseconds from 0 to 2147483647, got "1s"/],
    [{ hang: { grace: -1 } }, /got -1/],
    [{ hang: { blocked: Number.POSITIVE_INFINITY } }, /got Infinity/],
    [{ hang: true }, /option "hang" expects an object, got true/],
    [{ hang: { lost: 'on' } }, /'rerun' or 'off', got "on"/],
    [{ hang: { snapshot: -1 } }, /number of MB of at least 0, got -1/],
    [{ hang: { maxPerFile: 0 } }, /whole number of at least 1, got 0/],
    [{ hang: { rerunRest: false, maxPerFile: 2 } }, /contradict each other/],
    [{ leaks: true }, /"leaks" expects 'warn', 'error' or 'off', got true/],
    [{ orphans: 'ERROR' }, /"orphans" expects 'warn', 'error' or 'off', got "ERROR"/],
    [{ orphanGrace: '1 s' }, /"orphanGrace" expects milliseconds/],
    [{ hang: false, leaks: 'error' }, /"leaks" needs the supervision of workers/],
    [{ pool: 'zygote', zygote: { wait: 1 } }, /"zygote\.wait" expects true or false, got 1/],
    [{ pool: 'zygote', zygote: { exclude: 'e2e' } }, /"zygote\.exclude" expects a list of globs, got "e2e"/],
    [{ zygote: { wait: true } }, /"zygote" is about the pool zygote/],
    [{ ignoreLeaks: 'Interval' }, /"ignoreLeaks" expects a list of rules/],
    [{ ignoreLeaks: [{}] }, /rules with a kind or a site/],
    [{ ignoreLeaks: [{ path: 'x' }] }, /"ignoreLeaks" has no option "path"/],
    [{ ignoreLeaks: [{ kind: 1 }] }, /strings and regular expressions, got 1/],
    [{ dumpDir: '' }, /"dumpDir" expects a folder name/],
    [{ redact: 'password' }, /"redact" expects a list/],
    [{ redact: [1] }, /got 1/],
    [{ header: 'yes' }, /"header" expects true or false/],
    ['all', /harrow\(\) expects an object, got "all"/],
    [[], /got an array/],
  ])('refuses %j with a message that names what is wrong', (given, text) => {
    expect(() => resolveOptions(given)).toThrow(UsageError)
    expect(() => resolveOptions(given)).toThrow(text)
  })

  test('takes `hang: false` as "leave the pool alone"', () => {
    expect(resolveOptions({ hang: false }).hang).toBeNull()
  })

  test('keeps kinds and sites of rules literal, and the flags of expressions', () => {
    expect(
      resolveOptions({ ignoreLeaks: [{ kind: 'Timeout', site: 'src/a.ts' }, { kind: /inter/i }] }).ignoreLeaks,
    ).toEqual([
      { kind: ['^Timeout$', ''], site: ['src/a\\.ts', ''] },
      { kind: ['inter', 'i'], site: null },
    ])
  })

  test('keeps redaction strings literal and takes expressions as they are', () => {
    expect(resolveOptions({ redact: ['a.b', /x+/] }).redact).toEqual(['a\\.b', 'x+'])
  })
})
