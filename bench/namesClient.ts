import dgram from 'node:dgram'
import { decode, encode, RECURSION_DESIRED } from 'dns-packet'

/**
 * `namesClient.ts PREFIX COUNT WIDTH`, in a container's network namespace: asks its name server for
 * `PREFIX0.test`, `PREFIX1.test`, …, or for PREFIX itself each time where it ends in a dot. Prints the milliseconds
 * that all took; what nobody answers in 5 s is asked again, as libc does.
 */
const [prefix = '', count = '', width = ''] = process.argv.slice(2)
const patience = 5000

const nameOf = (index: number): string =>
  prefix.endsWith('.') ? prefix.slice(0, -1) : `${prefix}${index}.test`

const connected = async (): Promise<dgram.Socket> => {
  const socket = dgram.createSocket('udp4')
  await new Promise<void>(resolve => socket.connect(53, '127.0.0.11', resolve))
  return socket
}

const asked = (socket: dgram.Socket, index: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const name = nameOf(index)
    const id = index & 0xffff
    const message = encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ name, type: 'A' }] })
    const again = setInterval(() => socket.send(message), patience)
    socket.removeAllListeners('message').on('message', bytes => {
      const answer = decode(bytes)
      if (answer.id !== id) return
      clearInterval(again)
      if (answer.answers?.length) resolve()
      else reject(new Error(`${name} was not found`))
    })
    socket.send(message)
  })

let next = 0
const lane = async (): Promise<void> => {
  const socket = await connected()
  for (let index = next++; index < Number(count); index = next++) await asked(socket, index)
  socket.close()
}

const from = performance.now()
await Promise.all(Array.from({ length: Number(width) }, lane))
console.log(performance.now() - from)
