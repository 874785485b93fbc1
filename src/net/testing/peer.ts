/**
 * A machine or container in a test: a process in some network namespace that
 * serves and asks as it is told over IPC.
 */
import dgram from 'node:dgram'
import net from 'node:net'

export type PeerOrder =
  | { do: 'serve'; protocol: 'tcp' | 'udp'; host: string; port: number }
  | {
      do: 'ask'
      protocol: 'tcp' | 'udp'
      host: string
      port: number
      patience: number
      /** The own port of a datagram. */
      from: number
      size?: number
    }
  | { do: 'open'; host: string; port: number }
  | { do: 'say'; text: string }

const name = process.argv[2] ?? ''
let conversation: net.Socket | undefined

/** Answers a connection with its own name and the client's address, then echoes lines. */
const serveTcp = (host: string, port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const server = net.createServer(socket => {
      socket.on('error', () => {})
      socket.write(`${name} sees ${socket.remoteAddress}\n`)
      socket.pipe(socket)
    })
    server.once('error', reject)
    server.listen(port, host, () => resolve('serving'))
  })

const serveUdp = (host: string, port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = dgram.createSocket('udp4')
    socket.once('error', reject)
    socket.on('message', (_, from) => socket.send(`${name} sees ${from.address}\n`, from.port, from.address))
    socket.bind(port, host, () => resolve('serving'))
  })

const nextLine = (socket: net.Socket): Promise<string> =>
  new Promise((resolve, reject) => {
    socket.once('data', data => resolve(String(data).trim()))
    socket.once('error', error => reject(error))
    socket.once('close', () => reject(new Error('closed')))
  })

const askTcp = async (host: string, port: number, patience: number): Promise<string> => {
  const socket = net.connect({ host, port })
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), patience)
  try {
    return await nextLine(socket)
  } finally {
    clearTimeout(timer)
    socket.on('error', () => {})
    socket.destroy()
  }
}

const askUdp = async ({
  host,
  port,
  patience,
  from,
  size = 1,
}: Extract<PeerOrder, { do: 'ask' }>): Promise<string> => {
  const socket = dgram.createSocket('udp4')
  const answer = new Promise<string>((resolve, reject) => {
    socket.on('message', data => resolve(String(data).trim()))
    socket.on('error', reject)
    setTimeout(() => reject(new Error('no answer')), patience).unref()
  })
  socket.bind(from, () => socket.send('x'.repeat(size), port, host))
  try {
    return await answer
  } finally {
    await new Promise<void>(resolve => socket.close(() => resolve()))
  }
}

const openConversation = async (host: string, port: number): Promise<string> => {
  conversation = net.connect({ host, port })
  return nextLine(conversation)
}

const say = async (text: string): Promise<string> => {
  if (!conversation) throw new Error('no conversation')
  conversation.write(`${text}\n`)
  return nextLine(conversation)
}

const obey = (order: PeerOrder): Promise<string> => {
  if (order.do === 'serve') {
    return order.protocol === 'tcp' ? serveTcp(order.host, order.port) : serveUdp(order.host, order.port)
  }
  if (order.do === 'ask') {
    return order.protocol === 'tcp' ? askTcp(order.host, order.port, order.patience) : askUdp(order)
  }
  return order.do === 'open' ? openConversation(order.host, order.port) : say(order.text)
}

process.on('message', ({ id, order }: { id: number; order: PeerOrder }) => {
  obey(order).then(
    reply => process.send?.({ id, reply }),
    error => process.send?.({ id, error: error.code ?? error.message }),
  )
})
process.on('disconnect', () => process.exit(0))
process.send?.({ id: 0, reply: 'ready' })
