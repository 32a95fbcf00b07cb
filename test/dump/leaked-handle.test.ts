import { describe, expect, test } from 'vitest'
import { classify } from '../../src/dump/classify.ts'
import type { Handle, HangFacts } from '../../src/dump/facts.ts'
import { factsOf, frame, suspended } from './sample-facts.ts'

function handle(kind: string, line: number | null, rest: Partial<Handle> = {}): Handle {
  const created =
    line === null ? [] : [frame('serve', `test/metrics.test.ts:${line}:10`, "server.listen(0, '127.0.0.1')")]
  return {
    id: line ?? 1,
    kind,
    what: '127.0.0.1:41873',
    ref: true,
    ageMs: 2000,
    created,
    close: 'server.close()',
    ...rest,
  }
}

function afterTests(handles: Handle[], rest: Partial<HangFacts> = {}): HangFacts {
  return factsOf({ phase: 'after-tests', test: null, owner: null, awaits: [], handles, waitedMs: 10_300, ...rest })
}

describe('a worker that does not stop', () => {
  test('is blamed on what its tests have left open, at the line that made it', () => {
    const verdict = classify(afterTests([handle('Server', 10)]))
    expect(verdict).toMatchObject({
      class: 'leaked-handle-after-tests',
      variant: 'Server',
      confidence: 'likely',
      culprit: { path: 'test/metrics.test.ts', line: 10 },
      hint: 'close it in the test or in afterAll: server.close()',
    })
    expect(verdict.diagnosis).toContain(
      'within 10.3 s after its last test: Server (127.0.0.1:41873) is still open, made by `server.listen',
    )
  })

  test('is a guess when other things are open too', () => {
    for (const other of [handle('Interval', 20), handle('Socket', null)]) {
      const verdict = classify(afterTests([handle('Server', 10), other]))
      expect(verdict).toMatchObject({ class: 'leaked-handle-after-tests', confidence: 'guess' })
      expect(verdict.alsoConsidered).toEqual(['unknown'])
    }
  })

  test('is not blamed on what does not hold it, or has no line of the user', () => {
    for (const handles of [[], [handle('Server', 10, { ref: false })], [handle('Server', null)]]) {
      expect(classify(afterTests(handles)).class).toBe('unknown')
    }
  })

  test('is blamed on the await when code of the user stands at one', () => {
    const awaits = [suspended(1, frame('teardown', 'env.ts:4:3', 'await closed'), { owner: null })]
    expect(classify(afterTests([handle('Server', 10)], { awaits })).class).not.toBe('leaked-handle-after-tests')
  })

  test('other phases are not judged by what is open', () => {
    expect(classify(afterTests([handle('Server', 10)], { phase: 'test' })).class).not.toBe('leaked-handle-after-tests')
  })
})
