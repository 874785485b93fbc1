import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import type { Readable } from 'node:stream'

/** The Engine API by raw HTTP on a unix socket: connections are kept, so that what is measured is the engine. */
const agent = new Agent({ keepAlive: true, maxSockets: 256, maxFreeSockets: 256 })
const version = '/v1.45'

const bodyOf = async (response: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

interface CallOptions {
  body?: unknown
  stream?: Readable
  headers?: Record<string, string>
}

/** Sends a request; settles with the answer's head, so that its body can be waited for later. */
const open = (socketPath: string, call: string, options: CallOptions = {}): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const [method = '', url = ''] = call.split(' ')
    const json = options.body === undefined ? undefined : JSON.stringify(options.body)
    const type = options.stream ? 'application/x-tar' : 'application/json'
    const headers = {
      ...(json === undefined && !options.stream ? {} : { 'Content-Type': type }),
      ...options.headers,
    }
    const sent = request({ socketPath, agent, method, path: version + url, headers }, resolve)
    sent.on('error', reject)
    if (options.stream) options.stream.on('error', reject).pipe(sent)
    else sent.end(json)
  })

/** A call such as `POST /containers/x/start` that must succeed; gives the body. */
export const call = async (socket: string, what: string, options?: CallOptions): Promise<string> => {
  const response = await open(socket, what, options)
  const text = await bodyOf(response)
  const status = response.statusCode ?? 0
  if (status >= 400) throw new Error(`${what}: ${status} ${text}`)
  return text
}

/** The same where the body is only counted, in bytes. */
export const drain = async (socket: string, what: string): Promise<number> => {
  const response = await open(socket, what)
  let bytes = 0
  for await (const chunk of response) bytes += (chunk as Buffer).length
  if ((response.statusCode ?? 0) >= 400) throw new Error(`${what}: ${response.statusCode}`)
  return bytes
}

export const json = async <T>(socket: string, what: string, options?: CallOptions): Promise<T> =>
  JSON.parse(await call(socket, what, options)) as T

/** Begins `/wait`; when this settles, the engine knows of it. The inner promise gives the exit code. */
export const beginWait = async (
  socket: string,
  id: string,
  condition: string,
): Promise<{ exit: Promise<number> }> => {
  const response = await open(socket, `POST /containers/${id}/wait?condition=${condition}`)
  return {
    exit: bodyOf(response).then(text => (JSON.parse(text) as { StatusCode: number }).StatusCode),
  }
}

/** A stream that counts what comes and forgets it. */
export interface Counted {
  /** Bytes after the head, when the other side has closed. */
  end: Promise<number>
}

const headEnd = '\r\n\r\n'

/** Sends a request on a connection of its own (hijacked, or closed at the end); settles at the answer's head. */
export const openStream = (socketPath: string, what: string, body?: unknown): Promise<Counted> =>
  new Promise((resolve, reject) => {
    const [method = '', url = ''] = what.split(' ')
    const text = body === undefined ? '' : JSON.stringify(body)
    const upgrade = method === 'POST' ? 'Upgrade' : 'close'
    const end = Promise.withResolvers<number>()
    let head: string | undefined = ''
    let bytes = 0
    const receive = (count: number, buffer: Uint8Array): boolean => {
      if (head === undefined) {
        bytes += count
        return true
      }
      head += Buffer.from(buffer.subarray(0, count)).toString('latin1')
      const at = head.indexOf(headEnd)
      if (at < 0) return true
      bytes = head.length - at - headEnd.length
      const status = Number(head.slice(9, 12))
      if (status >= 400) reject(new Error(`${what}: ${head}`))
      head = undefined
      resolve({ end: end.promise })
      return true
    }
    // One buffer for all that comes, so that the client is not what is measured.
    const socket = connect({
      path: socketPath,
      onread: { buffer: Buffer.alloc(1 << 20), callback: receive },
    })
    socket.on('error', error => {
      reject(error)
      end.reject(error)
    })
    socket.on('close', () => end.resolve(bytes))
    socket.write(
      `${method} ${version}${url} HTTP/1.1\r\nHost: docker\r\nConnection: ${upgrade}\r\n${upgrade === 'Upgrade' ? 'Upgrade: tcp\r\n' : ''}` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}${headEnd}${text}`,
    )
  })
