import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createDeflateRaw, createGzip } from 'node:zlib'

/** Compression of an answer that the client asked for (RFC 9110, section 12.5.3). */

const weightOf = (header: string, coding: string): number => {
  for (const part of header.split(',')) {
    const [name = '', ...parameters] = part.split(';').map(text => text.trim().toLowerCase())
    if (name !== coding) continue
    const weight = parameters.find(text => text.startsWith('q='))
    return weight === undefined ? 1 : Number(weight.slice(2)) || 0
  }
  return 0
}

/** The coding that the client likes best of those that are offered; undefined for none. */
export const chooseEncoding = (header: string | undefined): 'gzip' | 'deflate' | undefined => {
  const gzip = weightOf(header ?? '', 'gzip')
  const deflate = weightOf(header ?? '', 'deflate')
  if (gzip === 0 && deflate === 0) return undefined
  return gzip >= deflate ? 'gzip' : 'deflate'
}

/** A coding's name and its compressor, for the answer to this request. */
export const encoderFor = (req: IncomingMessage): { name: string; transform: Duplex } | undefined => {
  const name = chooseEncoding(req.headers['accept-encoding']?.toString())
  if (!name) return undefined
  return { name, transform: name === 'gzip' ? createGzip() : createDeflateRaw() }
}
