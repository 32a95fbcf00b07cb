import { execFileSync } from 'node:child_process'

console.log('ready')
execFileSync('sleep', ['60'])
setInterval(() => {}, 1000)
