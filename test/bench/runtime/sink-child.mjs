// Reads so many bytes from a socket and says when it has them: sink-child.mjs PATH BYTES
import { createServer } from 'node:net'

const [path, bytes] = process.argv.slice(2)
createServer((socket) => {
  let have = 0
  let rest = []
  socket.on('data', (chunk) => {
    // As much work as any reader of frames has: the parts of a frame are put together.
    rest.push(chunk)
    have += chunk.length
    if (rest.length > 1) {
      Buffer.concat(rest)
      rest = []
    }
    if (have >= Number(bytes)) process.send('done')
  })
}).listen(path, () => process.send('ready'))
