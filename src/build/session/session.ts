import { type ClientHttp2Session, connect } from 'node:http2'
import type { DescMessage, DescMethod, MessageShape } from '@bufbuild/protobuf'
import { BerthError } from '../../core/errors.ts'
import { messageLimit } from './grpcFrames.ts'
import { GrpcStream } from './grpcStream.ts'
import type { Metadata } from './metadata.ts'
import { watchHealth } from './sessionHealth.ts'
import type { SessionConnection } from './types.ts'

/** What is under way to us on one stream, and on all of a session together. Bytes. */
const streamWindow = 4 * 1024 * 1024
const sessionWindow = 16 * 1024 * 1024
/** Frames larger than HTTP/2's least spare work. */
const frameSize = 256 * 1024
/** Patterns and paths that are followed are fields of a header. */
const headerLimit = 1024 * 1024

/** What Node holds for a session before it refuses streams: above what the windows let come. Megabytes. */
const maxSessionMemory = 64

export interface CallOptions {
  signal: AbortSignal
  metadata?: Metadata
}

export const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`

const ended = (id: string): BerthError =>
  new BerthError('session-closed', 499, `the session ${id} was closed by its client`)

const connectOver = ({ socket, head }: SessionConnection): ClientHttp2Session => {
  if (head && head.length > 0) socket.unshift(head)
  // A client that has closed its half is gone: without this its socket would stay.
  if ('allowHalfOpen' in socket) socket.allowHalfOpen = false
  socket.on('error', () => socket.destroy())
  const http2 = connect('http://localhost', {
    createConnection: () => socket,
    settings: { initialWindowSize: streamWindow, maxFrameSize: frameSize, enablePush: false },
    maxSendHeaderBlockLength: headerLimit,
    maxSessionMemory,
  })
  http2.once('connect', () => {
    if (!http2.destroyed) http2.setLocalWindowSize(sessionWindow)
  })
  return http2
}

/** One client's session, until its connection ends. */
export class Session implements Disposable {
  readonly id: string
  readonly name: string
  readonly sharedKey: string
  readonly #http2: ClientHttp2Session
  readonly #methods: ReadonlySet<string>
  readonly #end = new AbortController()
  /** Settles when it has ended. */
  readonly closed: Promise<void>

  constructor(connection: SessionConnection) {
    this.id = connection.id
    this.name = connection.name
    this.sharedKey = connection.sharedKey
    this.#methods = new Set(connection.methods.map(path => path.toLowerCase()))
    this.#http2 = connectOver(connection)
    // A client that leaves says so with a frame that Node takes for an error.
    this.#http2.on('error', () => this.close())
    this.closed = new Promise(resolve => {
      this.#http2.once('close', () => {
        this.#end.abort(ended(this.id))
        connection.socket.destroy()
        resolve()
      })
    })
    connection.socket.once('close', () => this.close())
    watchHealth(this, connection.healthTimeout)
  }

  /** Aborts when the session ends. */
  get signal(): AbortSignal {
    return this.#end.signal
  }

  /** Whether the client serves a path, whatever its case. */
  supports(path: string): boolean {
    return this.#methods.has(path.toLowerCase())
  }

  /** Errors: `session-closed`, the signal's reason. */
  stream(path: string, { signal, metadata = {} }: CallOptions): GrpcStream {
    return new GrpcStream(this.#http2, { path, metadata, signal: AbortSignal.any([signal, this.signal]) })
  }

  /** One message for one. Errors: the client's status, `session-closed`, the signal's reason. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    request: MessageShape<I>,
    options: CallOptions & { limit?: number },
  ): Promise<MessageShape<O>> {
    using stream = this.stream(pathOf(method), options)
    await stream.send(method.input, request)
    stream.endSending()
    let answer: MessageShape<O> | undefined
    for await (const message of stream.messages(method.output, options.limit ?? messageLimit))
      answer ??= message
    if (answer === undefined)
      throw new BerthError('bad-message', 500, `the client gave no answer to ${pathOf(method)}`)
    return answer
  }

  /** Calls that are under way fail. */
  close(): void {
    if (!this.signal.aborted) this.#end.abort(ended(this.id))
    if (!this.#http2.destroyed) this.#http2.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
