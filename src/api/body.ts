import type { IncomingMessage } from 'node:http'
import { BerthError, badRequest } from '../core/errors.ts'
import { type Decoder, decodeJson } from '../wire/decode.ts'

/** No JSON request of Docker's comes near this; what is larger is refused before it fills memory. */
const maxBody = 16 * 1024 * 1024

const readText = async (req: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBody)
      throw new BerthError('body-too-large', 413, `request body is larger than ${maxBody} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Whether a body of this type is read as JSON: only such a one, and authorization plugins are shown no other. */
export const isJsonType = (type: string | undefined): boolean =>
  /^application\/json\s*(;|$)/i.test(type ?? '')

export const hasNoBody = ({ headers }: IncomingMessage): boolean =>
  (headers['content-length'] ?? '0') === '0' && headers['transfer-encoding'] === undefined

const checkType = (req: IncomingMessage): void => {
  const type = req.headers['content-type']
  if (type === undefined && hasNoBody(req)) return
  if (type === undefined) throw badRequest('malformed Content-Type header (): mime: no media type')
  if (!isJsonType(type))
    throw badRequest(`unsupported Content-Type header (${type}): must be 'application/json'`)
}

const endOfFile = 'invalid JSON: got EOF while reading request body'

/** Reads a JSON body; none at all is an empty object. Errors: `bad-request` in Docker's words, 413 for one that is too large. */
export const readJson = async <T>(req: IncomingMessage, decoder: Decoder<T>): Promise<T> => {
  checkType(req)
  if (hasNoBody(req)) return decodeJson('{}', decoder)
  const text = await readText(req)
  if (text.trim() === '') throw badRequest(endOfFile)
  return decodeJson(text, decoder)
}

/** The same where there must be one. */
export const readRequiredJson = <T>(req: IncomingMessage, decoder: Decoder<T>): Promise<T> => {
  checkType(req)
  if (hasNoBody(req)) throw badRequest(endOfFile)
  return readJson(req, decoder)
}

/** Settles when there may be more of a body, or its end. */
const more = (req: IncomingMessage, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      req.off('readable', onReadable).off('close', onClose)
      signal.removeEventListener('abort', onAbort)
      if (error) reject(error)
      else resolve()
    }
    const onReadable = (): void => settle()
    const onClose = (): void => settle(badRequest('the request ended before its body did'))
    const onAbort = (): void => settle(signal.reason)
    req.once('readable', onReadable).once('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
  })

/** A whole body, which can be read afterwards as if nobody had looked; undefined for one of more than `most` bytes. */
export const peekBody = async (
  req: IncomingMessage,
  most: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> => {
  const chunks: Buffer[] = []
  let size = 0
  for (;;) {
    signal.throwIfAborted()
    const chunk = req.read() as Buffer | null
    if (chunk) {
      chunks.push(chunk)
      size += chunk.length
      if (size > most) {
        // A client that goes on sending gets its answer all the same.
        req.resume()
        return undefined
      }
    } else if (req.complete) break
    else await more(req, signal)
  }
  const body = Buffer.concat(chunks)
  // In the same turn as the read that found the end: later it would be too late to put anything back.
  if (size > 0) req.unshift(body)
  return body
}
