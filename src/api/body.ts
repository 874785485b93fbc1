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

/** Reads a JSON body. Errors: `bad-request` in Docker's words, 413 for one that is too large. */
export const readJson = async <T>(req: IncomingMessage, decoder: Decoder<T>): Promise<T> => {
  const type = req.headers['content-type']
  const text = await readText(req)
  if (text.trim() === '') throw badRequest('invalid JSON: got EOF while reading request body')
  if (type !== undefined && !/^(application|text)\/json\b/i.test(type))
    throw badRequest(`Content-Type specified (${type}) must be 'application/json'`)
  return decodeJson(text, decoder)
}

/** As `readJson`, but an absent body gives an empty object. */
export const readOptionalJson = async <T>(req: IncomingMessage, decoder: Decoder<T>): Promise<T> => {
  const text = await readText(req)
  return decodeJson(text.trim() === '' ? '{}' : text, decoder)
}
