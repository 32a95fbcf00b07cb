// The main process of a run: opens a session, makes its temp root, starts shell scripts, says what it did in a file.
import { spawn } from 'node:child_process'
import { renameSync, writeFileSync } from 'node:fs'
import { makeTempRoot } from '../../../src/reap/files.ts'
import { Session } from '../../../src/reap/session.ts'

const { id, ready, scripts } = JSON.parse(process.env.CONFIG ?? '') as { id: string; ready: string; scripts: string[] }
const session = Session.open({
  id,
  kind: 'vitest',
  label: 'a run of a test',
  root: '/',
  tag: { name: 'HARROW_SESSION', value: id },
  politeMs: 200,
})
const temp = makeTempRoot(id)
const env = { ...process.env, HARROW_SESSION: id, HARROW_MEMBER: `${id}.7.1` }
const children = scripts.map((script) => spawn('/bin/sh', ['-c', script], { stdio: 'ignore', env }).pid)
session.watch()
writeFileSync(`${ready}.tmp`, JSON.stringify({ temp, children, sidecar: session.sidecar?.pid }))
renameSync(`${ready}.tmp`, ready)
setInterval(() => {}, 1000)
