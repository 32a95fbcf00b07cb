import { EventEmitter, once } from 'node:events'

const bus = new EventEmitter().setMaxListeners(0)

async function reply(id) {
  const [value] = await once(bus, `reply ${id % 7}`)
  return value
}

async function request(id) {
  return (await reply(id)) + 1
}

for (let id = 0; id < 5000; id++) request(id)
setInterval(() => {}, 1000)
console.log('ready')
