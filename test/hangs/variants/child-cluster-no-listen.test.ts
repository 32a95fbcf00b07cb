// expect: {"id":"child-cluster-no-listen","class":"child-process-stuck","test":"starts two servers","culprit":"child-cluster-no-listen.test.ts:25","holder":"child-cluster-no-listen.test.ts:24","kind":"hang","mustMention":["listening"]}
// The cluster workers are online and never listen: their port is missing in the environment.
import cluster from 'node:cluster'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const file = join(mkdtempSync(join(tmpdir(), 'cluster-')), 'worker.cjs')
writeFileSync(
  file,
  `if (process.env.SHOP_PORT) require('node:http').createServer().listen(Number(process.env.SHOP_PORT))
   else setInterval(() => {}, 1000)
   setTimeout(() => process.exit(3), 90000)`,
)

afterAll(() => {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
})

test('starts two servers', async () => {
  cluster.setupPrimary({ exec: file, execArgv: [], silent: true })
  const first = cluster.fork({ SHOP_PORTS: '0' })
  await once(first, 'listening')
  expect(first.isConnected()).toBe(true)
})
