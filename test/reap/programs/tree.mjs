// node tree.mjs <depth> <mark>: descendants that are hard to find and to end. The mark stands in the arguments of each,
// where the code under test never looks.
import { spawn } from 'node:child_process'

const [, path, depth, mark] = process.argv
const start = (program, args, options) => spawn(program, args, { stdio: 'ignore', ...options })
const shell = (script) => start('/bin/sh', ['-c', `${script}\n: ${mark}`])

shell('sleep 300 & wait')
shell(`trap '' TERM INT HUP; while :; do sleep 1; done`)
shell(`(setsid /bin/sh -c 'while :; do sleep 1; done; : ${mark}' &); exit 0`)
shell(`(env -i setsid /bin/sh -c 'while :; do sleep 1; done; : ${mark}' &); exit 0`)
shell('while :; do (sleep 0.05; true) & sleep 0.02; done')
if (Number(depth) > 1) start(process.execPath, [path, String(Number(depth) - 1), mark], { detached: true })
setInterval(() => {}, 1000)
