// node tracer.mjs <pid file>: starts a process and attaches to it, as a debugger does. Waits for nothing that it does.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import koffi from 'koffi'

const PTRACE_SEIZE = 0x4206
const ptrace = koffi.load(null).func('long ptrace(long request, int pid, long address, long data)')
const { pid } = spawn('sleep', ['300'], { stdio: 'ignore' })
writeFileSync(process.argv[2], Number(ptrace(PTRACE_SEIZE, pid, 0, 0)) === 0 ? String(pid) : 'refused')
setInterval(() => {}, 1000)
