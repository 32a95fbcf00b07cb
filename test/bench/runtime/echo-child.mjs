// Peers of harrow in a child process: an echo over a raw Unix socket, with 4 bytes of length before each message.
import { createServer } from 'node:net'

const [path, batch] = process.argv.slice(2)
const server = createServer((socket) => {
  let rest
  let queue = []
  socket.on('data', (chunk) => {
    let data = rest ? Buffer.concat([rest, chunk]) : chunk
    rest = undefined
    while (data.length >= 4) {
      const length = data.readUInt32LE(0) + 4
      if (data.length < length) break
      if (batch) queue.push(data.subarray(0, length))
      else socket.write(data.subarray(0, length))
      data = data.subarray(length)
    }
    if (data.length > 0) rest = data
    if (queue.length > 0) {
      socket.write(queue.length === 1 ? queue[0] : Buffer.concat(queue))
      queue = []
    }
  })
})
server.listen(path, () => process.send('ready'))
