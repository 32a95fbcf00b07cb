// Hangs in the way that is named, watched by dumpOnHang or dumpOnSignal.
import { execFileSync } from 'node:child_process'
import { dumpOnHang, dumpOnSignal } from '../../../src/index.ts'

const [kind, path] = process.argv.slice(2)
const ways = {
  async promise() {
    dumpOnHang(0.2, { path })
    await new Promise((resolve) => setTimeout(resolve, 60_000))
  },
  loop() {
    dumpOnHang(0.2, { path })
    for (;;) {}
  },
  stalls() {
    dumpOnHang(0.2, { path, watch: 'loop' })
    setTimeout(() => {
      for (;;) {}
    }, 100)
  },
  turns() {
    dumpOnHang(0.3, { path, watch: 'loop' })
    setTimeout(() => {}, 1500)
  },
  syscall() {
    dumpOnHang(0.2, { path })
    execFileSync('sleep', ['60'])
  },
  async signal() {
    const hold = setInterval(() => {}, 1000)
    await dumpOnSignal('SIGUSR2', { path }).ready
    console.log('ready')
    for (;;) hold.ref()
  },
  idleSignal() {
    const stop = dumpOnSignal('SIGUSR2', {
      path,
      onDump: (written) => {
        console.log(JSON.stringify(written))
        stop()
        clearInterval(hold)
      },
    })
    const hold = setInterval(() => {}, 1000)
    console.log('ready')
  },
  done() {
    const done = dumpOnHang(0.2, { path })
    done()
    done()
    setTimeout(() => {}, 1000)
  },
  ends() {
    dumpOnHang(60, { path })
    dumpOnHang(60, { path, watch: 'loop' })
    dumpOnSignal('SIGUSR2', { path })
  },
}

ways[kind]()
