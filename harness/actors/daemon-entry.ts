// The process behind withDaemon: daemon-entry.ts ADDRESS READY-FILE [MODULE...]
import { writeFileSync } from 'node:fs'
import { runDaemon } from '../../src/actor/index.ts'

const [address = '', ready = '', ...modules] = process.argv.slice(2)
await runDaemon(modules, { registryAddrs: [address], name: 'daemon', ready: () => writeFileSync(ready, '') })
