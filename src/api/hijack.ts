import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { BerthError } from '../core/errors.ts'
import type { RawClient } from '../engine/containers/rawClient.ts'
import { hasHungUp } from '../linux/descriptors.ts'

/**
 * Connections taken out of HTTP, so that they can be handed to another process
 * (docs/architecture.md, "Hand-over"). Node must have stopped reading before
 * the descriptor is passed on: bytes that it reads later would be lost.
 */
interface Handle {
  fd: number
  /** What Node takes it to do; to start reading twice is an error. */
  reading: boolean
  readStop(): number
  readStart(): number
}

/** Nothing once the connection is gone. */
const openHandle = (socket: Socket): Handle | null | undefined =>
  (socket as unknown as { _handle: Handle | null })._handle

/** Errors: `client-gone`. */
const handleOf = (socket: Socket): Handle => {
  const handle = openHandle(socket)
  if (!handle || handle.fd < 0) throw new BerthError('client-gone', 499, 'the client closed the connection')
  return handle
}

/** The connection's own, which stays Node's. Errors: `client-gone`. */
export const descriptorOf = (socket: Socket): number => handleOf(socket).fd

/** Stops reading at once; to be called before anything is awaited where the client may send stdin early. */
export const stopReading = ({ socket }: Pick<IncomingMessage, 'socket'>): void => {
  handleOf(socket).readStop()
}

/** Reads no further until the result is called: what follows a request's end may be no request. */
export const holdReading = (req: IncomingMessage): (() => void) => {
  const handle = handleOf(req.socket)
  handle.readStop()
  return () => {
    if (openHandle(req.socket) === handle) handle.readStart()
  }
}

/** Whoever stopped it, and whatever Node knows of that. */
export const restartReading = (socket: Socket): void => {
  const handle = openHandle(socket)
  if (!handle) return
  handle.readStop()
  handle.readStart()
  handle.reading = true
}

/** The socket is no longer HTTP's: its listeners would answer, time out or reuse it. */
export const detach = (socket: Socket): void => {
  socket.setTimeout(0)
  socket.removeAllListeners('timeout')
  for (const event of ['data', 'end', 'drain'] as const) socket.removeAllListeners(event)
  socket.on('error', () => socket.destroy())
}

/** Of a client that has its answer: how long it is waited for, and how much of it is read. */
const lingering = { milliseconds: 30_000, bytes: 1024 ** 3 }

/**
 * Closes a connection whose client has its answer and may be sending still. What
 * it sends is thrown away until it closes, too: bytes that nobody has read when
 * a connection is closed make a reset of it, which may cost the client the
 * answer (RFC 9112, 9.6).
 */
export const closeLingering = (socket: Socket, most = lingering): void => {
  if (socket.destroyed) return
  detach(socket)
  let left = most.bytes
  const timer = setTimeout(() => socket.destroy(), most.milliseconds)
  timer.unref()
  socket.once('close', () => clearTimeout(timer))
  socket.on('data', (bytes: Buffer) => {
    left -= bytes.length
    if (left < 0) socket.destroy()
  })
  socket.end()
  restartReading(socket)
  socket.resume()
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
    get isGone() {
      return socket.destroyed || hasHungUp(handleOf(socket).fd)
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
  return rawClient(socket, Buffer.concat([...(left ? [sentAhead(socket, left)] : []), drain(socket)]))
}

/** What came behind the head of an upgrade, as far as Node has read it. */
export const sentAhead = (socket: Socket, { head, wrapper }: UpgradeLeft): Buffer => {
  const wrapped = (wrapper as unknown) === socket ? null : (wrapper.read() as Buffer | null)
  return Buffer.concat([head, wrapped ?? Buffer.alloc(0)])
}

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
