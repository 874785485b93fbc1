import dgram from 'node:dgram'
import net from 'node:net'
import type { Transport } from './exchange.ts'
import { Framing, framed } from './framing.ts'

/** Serving on the sockets of one sandbox. */

/** Gives the answer to one message, undefined where it gets none. Never rejects. */
export type Answerer = (message: Buffer, transport: Transport) => Promise<Buffer | undefined>

export interface Listener {
  /** The descriptor; this process's copy ends with `close`. */
  fd: number
  /** Closes this process's copy. */
  close(): Promise<void>
}

const idleMillis = 10_000
const mostConnections = 32
/** Questions of one connection that are under way; beyond it, it is not read. */
const mostWaiting = 32

/** Serves on a bound UDP descriptor, which it then owns. */
export const serveDatagrams = async (fd: number, answer: Answerer): Promise<Listener> => {
  const socket = dgram.createSocket('udp4')
  // An asker that is gone shows as an error of a later call; there is nothing to do about it.
  socket.on('error', () => {})
  let open = true
  socket.on('message', async (message, from) => {
    const reply = await answer(message, 'udp')
    if (reply && open) socket.send(reply, from.port, from.address, () => {})
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('error', reject)
  socket.bind({ fd }, resolve)
  await promise
  const close = (): Promise<void> => {
    if (!open) return Promise.resolve()
    open = false
    return new Promise(done => socket.close(done))
  }
  return { fd, close }
}

const serveConnection = (socket: net.Socket, answer: Answerer): void => {
  const framing = new Framing()
  let waiting = 0
  let ended = false
  const settle = (): void => {
    if (ended && waiting === 0) socket.end()
    if (waiting < mostWaiting && !socket.writableNeedDrain) socket.resume()
  }
  const serve = async (message: Buffer): Promise<void> => {
    waiting++
    const reply = await answer(message, 'tcp')
    waiting--
    if (reply && socket.writable) socket.write(framed(reply))
    settle()
  }
  socket.on('error', () => {})
  socket.setTimeout(idleMillis, () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    for (const message of framing.push(chunk)) void serve(message)
    if (waiting >= mostWaiting || socket.writableNeedDrain) socket.pause()
  })
  socket.on('drain', settle)
  socket.on('end', () => {
    ended = true
    settle()
  })
}

/** Serves on a listening TCP descriptor, which it then owns. */
export const serveStreams = async (fd: number, answer: Answerer): Promise<Listener> => {
  const connections = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true }, socket => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    serveConnection(socket, answer)
  })
  server.maxConnections = mostConnections
  server.on('error', () => {})
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ fd }, resolve)
  await promise
  const close = (): Promise<void> => {
    for (const socket of connections) socket.destroy()
    return new Promise(done => server.close(() => done()))
  }
  return { fd, close }
}
