/** Writes a dump of about 300 kB and a run record into the folder of its argument; tells the results as JSON. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { buildRecord } from '../../../src/dump/build-record.ts'
import { classify } from '../../../src/dump/classify.ts'
import { RunRecord } from '../../../src/dump/run-record.ts'
import { writeDump } from '../../../src/dump/write.ts'
import { factsOf } from '../sample-facts.ts'

const dir = process.argv[2] as string
// Root may write everywhere.
if (process.argv[3] === 'nobody') process.setuid?.(65534)

const facts = factsOf({ missing: ['x'.repeat(300_000)] })
const dump = writeDump(dir, { file: 'a.test.ts', test: 'b', pid: 1 }, buildRecord(facts, classify(facts)))
const run = new RunRecord({ run: 'r', backend: 'spawn', strength: 'basic' })
run.addLeak({ file: 'f', test: null, class: 'c', kind: 'k', count: 1, diagnosis: 'd'.repeat(300_000) })
const record = run.writeSync(join(dir, 'run.json'))
process.stdout.write(JSON.stringify({ dump, record, left: readdirSync(dir) }))
