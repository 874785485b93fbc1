import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { BerthError } from '../core/errors.ts'
import type { MessageChannel } from '../engine/containers/messageClient.ts'
import type { UpgradeLeft } from './hijack.ts'

/** Websockets of the Engine API (RFC 6455). */

/** A larger message from a client ends its connection. */
const maxMessage = 16 * 1024 * 1024

const normalClose = 1000

export const isWebSocket = (req: IncomingMessage): boolean =>
  req.headers.upgrade?.toLowerCase() === 'websocket'

/** Answers the handshake; the websocket is paused. A wrong one is answered with 400; what is thrown then is for the log only. */
export const acceptWebSocket = (req: IncomingMessage, left: UpgradeLeft): Promise<WebSocket> =>
  new Promise((resolve, reject) => {
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: maxMessage,
    })
    server.once('wsClientError', (error, socket) => {
      socket.end(`HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n${error.message}\n`)
      reject(new BerthError('bad-handshake', 400, `websocket handshake: ${error.message}`, { cause: error }))
    })
    server.handleUpgrade(req, left.wrapper as Duplex, left.head, socket => {
      // Frames may have come with the handshake: nothing of them is read, nor can fail, before somebody listens.
      socket.on('error', () => socket.terminate())
      socket.pause()
      resolve(socket)
    })
  })

/** A websocket as the engine knows it; `binary` tells the kind of message that the client gets. */
export const messageChannel = (socket: WebSocket, binary: boolean): MessageChannel => ({
  send: (bytes, done) => socket.send(bytes, { binary }, () => done()),
  onMessage: listener => {
    socket.on('message', data =>
      listener(Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer)),
    )
    socket.resume()
  },
  onClose: listener => {
    if (socket.readyState === socket.CLOSED) queueMicrotask(listener)
    else socket.once('close', listener)
  },
  pause: () => socket.pause(),
  resume: () => socket.resume(),
  close: () => socket.close(normalClose),
})
