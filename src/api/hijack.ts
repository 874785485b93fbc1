import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { BerthError } from '../core/errors.ts'
import type { RawClient } from '../engine/containers/rawClient.ts'

/**
 * Connections taken out of HTTP, so that they can be handed to another process
 * (docs/architecture.md, "Hand-over"). Node must have stopped reading before
 * the descriptor is passed on: bytes that it reads later would be lost.
 */
interface Handle {
  fd: number
  readStop(): number
}

const handleOf = (socket: Socket): Handle => {
  const handle = (socket as unknown as { _handle: Handle | null })._handle
  if (!handle || handle.fd < 0) throw new BerthError('client-gone', 499, 'the client closed the connection')
  return handle
}

/** Stops reading at once; to be called before anything is awaited where the client may send stdin early. */
export const stopReading = (req: IncomingMessage): void => {
  handleOf(req.socket).readStop()
}

const headText = (req: IncomingMessage, upgrade: boolean, fields: Record<string, string>): string => {
  const lines = upgrade
    ? ['HTTP/1.1 101 UPGRADED', 'Connection: Upgrade', `Upgrade: ${req.headers.upgrade ?? 'tcp'}`]
    : ['HTTP/1.1 200 OK', 'Connection: close']
  for (const [name, value] of Object.entries(fields)) lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

const written = (socket: Socket, text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.write(text, error => (error ? reject(error) : resolve()))
  })

const drain = (socket: Socket): Buffer => (socket.read() as Buffer | null) ?? Buffer.alloc(0)

const rawClient = (socket: Socket, pending: Buffer): RawClient => {
  let released = false
  return {
    get fd() {
      return handleOf(socket).fd
    },
    pending,
    write: bytes => new Promise(resolve => socket.write(bytes, () => resolve())),
    end: () => {
      released = true
      socket.end()
      socket.destroySoon()
    },
    release: () => {
      released = true
      socket.destroy()
    },
    onGone: listener => {
      socket.once('close', () => {
        if (!released) listener()
      })
    },
  }
}

/** Bytes that Node had read past an upgrade request's head, and the stream it wrapped them in. */
export interface UpgradeLeft {
  head: Buffer
  wrapper: NodeJS.ReadableStream
}

/**
 * Answers a streaming request: 101 for an upgrade, 200 otherwise, and takes the
 * connection over with all that the client had sent ahead.
 */
export const takeStream = async (
  req: IncomingMessage,
  left: UpgradeLeft | undefined,
  fields: Record<string, string>,
): Promise<RawClient> => {
  const { socket } = req
  const handle = handleOf(socket)
  handle.readStop()
  detach(socket)
  await written(socket, headText(req, left !== undefined, fields))
  await new Promise(resolve => setImmediate(resolve))
  const ahead = left
    ? [left.head, (left.wrapper as unknown) === socket ? Buffer.alloc(0) : drainWrapper(left)]
    : []
  return rawClient(socket, Buffer.concat([...ahead, drain(socket)]))
}

const drainWrapper = ({ wrapper }: UpgradeLeft): Buffer =>
  (wrapper.read() as Buffer | null) ?? Buffer.alloc(0)

/** Takes a /wait request over; reading goes on, so that a client that leaves is noticed. */
export const takeWait = async (req: IncomingMessage, fields: Record<string, string>): Promise<RawClient> => {
  const { socket } = req
  handleOf(socket)
  detach(socket)
  await written(socket, headText(req, false, fields))
  socket.resume()
  const client = rawClient(socket, Buffer.alloc(0))
  return {
    ...client,
    get fd() {
      const handle = handleOf(socket)
      handle.readStop()
      return handle.fd
    },
  }
}

/** The socket is no longer HTTP's: its listeners would answer, time out or reuse it. */
const detach = (socket: Socket): void => {
  socket.setTimeout(0)
  socket.removeAllListeners('timeout')
  for (const event of ['data', 'end', 'drain'] as const) socket.removeAllListeners(event)
  socket.on('error', () => socket.destroy())
}
