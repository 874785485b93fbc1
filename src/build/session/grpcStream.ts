import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2'
import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { BerthError } from '../../core/errors.ts'
import { FrameSplitter, frame, messageLimit } from './grpcFrames.ts'
import { callError, httpError, statusOf } from './grpcStatus.ts'
import type { Metadata } from './metadata.ts'

/** One call to a client, both ways at once: framed bytes, at the pace of who reads them. */

export interface StreamOptions {
  path: string
  metadata?: Metadata
  signal: AbortSignal
}

const requestHeaders = ({ path, metadata = {} }: StreamOptions): Record<string, string | string[]> => {
  const headers: Record<string, string | string[]> = {
    ':method': 'POST',
    ':path': path,
    ':scheme': 'http',
    ':authority': 'localhost',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
  }
  // A list is sent as so many fields: what gRPC takes for several values.
  for (const [name, values] of Object.entries(metadata)) headers[name] = [...values]
  return headers
}

const cutOff = (cause?: unknown): BerthError =>
  new BerthError('session-closed', 499, 'the client closed its session', { cause })

export class GrpcStream implements Disposable {
  readonly #stream: ClientHttp2Stream
  readonly #signal: AbortSignal
  readonly #cancel = (): void => this.close()
  #status: { code: number; message: string } | undefined
  #failure: unknown
  readonly #closed: Promise<void>

  constructor(session: ClientHttp2Session, options: StreamOptions) {
    options.signal.throwIfAborted()
    if (session.closed || session.destroyed) throw cutOff()
    this.#signal = options.signal
    this.#stream = session.request(requestHeaders(options), { endStream: false })
    this.#signal.addEventListener('abort', this.#cancel, { once: true })
    // Each write that waits listens.
    this.#stream.setMaxListeners(0)
    this.#stream.on('error', error => (this.#failure ??= error))
    this.#closed = new Promise(resolve => {
      this.#stream.once('close', () => {
        this.#signal.removeEventListener('abort', this.#cancel)
        resolve()
      })
    })
    this.#stream.on('response', headers => this.#begun(headers))
    this.#stream.on('trailers', trailers => (this.#status ??= statusOf(trailers)))
  }

  #begun(headers: IncomingHttpHeaders & { ':status'?: number | undefined }): void {
    this.#status ??= statusOf(headers)
    if (headers[':status'] !== 200) this.#failure ??= httpError(headers[':status'])
  }

  /** Writes bytes that are framed; settles when more may follow. Errors: the signal's reason, the call's end. */
  async write(framed: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted()
    if (this.#stream.destroyed || this.#stream.writableEnded) throw this.#ended()
    if (this.#stream.write(framed)) return
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        this.#stream.off('drain', settle)
        this.#stream.off('close', settle)
        if (this.#signal.aborted) reject(this.#signal.reason)
        else if (this.#stream.destroyed) reject(this.#ended())
        else resolve()
      }
      this.#stream.once('drain', settle)
      this.#stream.once('close', settle)
    })
  }

  send<T extends DescMessage>(schema: T, message: MessageShape<T>): Promise<void> {
    return this.write(frame(toBinary(schema, message)))
  }

  /** No more is sent; the client may go on. */
  endSending(): void {
    if (!this.#stream.destroyed) this.#stream.end()
  }

  /** Bytes as they come, framed. Ends with the call. Errors: the client's status, the signal's reason. */
  async *chunks(): AsyncGenerator<Buffer> {
    try {
      yield* this.#stream as AsyncIterable<Buffer>
    } catch (error) {
      this.#failure ??= error
    }
    this.#signal.throwIfAborted()
    // A client that resets a call with its last frame ends it before Node tells of the trailers that came with that.
    if (this.#status === undefined) {
      // One that tells no status at all is closed only when both sides have ended.
      this.endSending()
      await this.#closed
    }
    if (this.#status?.code === 0 && this.#failure === undefined) return
    throw this.#ended()
  }

  /** Errors: as `chunks`; `bad-message`. */
  async *messages<T extends DescMessage>(schema: T, limit = messageLimit): AsyncGenerator<MessageShape<T>> {
    const splitter = new FrameSplitter(limit)
    for await (const chunk of this.chunks())
      for (const bytes of splitter.push(chunk)) yield fromBinary(schema, bytes)
    if (!splitter.isAtRest) throw new BerthError('bad-message', 400, 'the client ended within a message')
  }

  /** Cancels it, unless it has ended. */
  close(): void {
    if (this.#stream.destroyed) return
    this.#stream.close(constants.NGHTTP2_CANCEL)
    // With bytes that nobody reads it would stay.
    this.#stream.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #ended(): unknown {
    if (this.#status && this.#status.code !== 0) return callError(this.#status.code, this.#status.message)
    return this.#failure instanceof BerthError ? this.#failure : cutOff(this.#failure)
  }
}
