// A server of node-ipc in a process of its own, which answers with what it was sent. argv: folder of its socket, its name
import ipc from 'node-ipc'

const { IPC } = ipc
const server = new IPC()
const [, , folder, name] = process.argv
Object.assign(server.config, { id: name, socketRoot: `${folder}/`, silent: true })
server.serve(() => {
  server.server.on('req', ({ id, args }, socket) => server.server.emit(socket, 'res', { id, result: args }))
  process.send('up')
})
server.server.start()
process.on('disconnect', () => process.exit(0))
