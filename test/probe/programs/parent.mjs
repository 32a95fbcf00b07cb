import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const child = fork(fileURLToPath(new URL('./server.mjs', import.meta.url)), {
  stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
})
child.stdout.once('data', () => console.log(child.pid))
