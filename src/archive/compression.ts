import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Duplex, pipeline, Readable } from 'node:stream'
import {
  createGunzip,
  createGzip,
  createZstdCompress,
  createZstdDecompress,
  constants as zlibConstants,
} from 'node:zlib'
import { badRequest, internal, notImplemented } from '../core/errors.ts'
import { refuseWithoutPipes } from '../linux/spawn.ts'
import type { Compression } from './types.ts'

/** Compression of archives: told by the first bytes, undone by Node's zlib or an installed tool. */

/** First bytes that `detectCompression` wants to see where there are that many. */
export const MAGIC_LENGTH = 6

const startsWith = (bytes: Uint8Array, magic: readonly number[]): boolean =>
  magic.every((byte, index) => bytes[index] === byte)

export const detectCompression = (bytes: Uint8Array): Compression => {
  if (startsWith(bytes, [0x1f, 0x8b])) return 'gzip'
  if (startsWith(bytes, [0x28, 0xb5, 0x2f, 0xfd])) return 'zstd'
  // A skippable frame, with which seekable zstd layers may start.
  if (((bytes[0] ?? 0) & 0xf0) === 0x50 && startsWith(bytes.subarray(1), [0x2a, 0x4d, 0x18])) return 'zstd'
  if (startsWith(bytes, [0x42, 0x5a, 0x68])) return 'bzip2'
  if (startsWith(bytes, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])) return 'xz'
  return 'none'
}

const found = new Map<string, string>()

/** One that is installed while the daemon runs is found, too. */
const findTool = (name: string): string | undefined => {
  const tool =
    found.get(name) ??
    (process.env['PATH'] ?? '')
      .split(delimiter)
      .map(at => join(at, name))
      .find(isExecutable)
  if (tool) found.set(name, tool)
  return tool
}

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const damaged = (kind: Compression, cause: unknown): Error =>
  badRequest(`the archive's ${kind} data is damaged or cut off`, cause)

/** Below this many bytes the start of a tool costs more than it saves. */
const TOOL_WORTH = 4 << 20

/** A tool that reads compressed bytes from its input and writes plain ones. */
async function* throughTool(kind: Compression, tool: string, source: Readable): AsyncGenerator<Buffer> {
  const child = spawn(tool, ['-dc'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = new Promise<unknown>(resolve => {
    child.on('error', resolve)
    child.on('close', (code, signal) =>
      resolve(code === 0 ? undefined : new Error(`${tool} ended with ${signal ?? code}`)),
    )
  })
  refuseWithoutPipes(child, tool)
  let inputError: unknown
  source.on('error', error => {
    inputError = error
  })
  // A tool that ends early breaks the pipe; its exit code tells more.
  pipeline(source, child.stdin, () => {})
  try {
    yield* child.stdout
    const failure = await ended
    if (inputError) throw inputError
    if (failure) throw damaged(kind, failure)
  } finally {
    source.destroy()
    child.kill('SIGKILL')
  }
}

async function* throughZlib(kind: Compression, transform: Duplex, source: Readable): AsyncGenerator<Buffer> {
  pipeline(source, transform, () => {})
  try {
    yield* transform
  } catch (error) {
    const ours = error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code))
    throw ours ? damaged(kind, error) : error
  } finally {
    source.destroy()
  }
}

const decompressor = (
  kind: Compression,
  source: Readable,
  size: number | undefined,
): AsyncIterable<Buffer> => {
  if (kind === 'zstd') return throughZlib(kind, createZstdDecompress({ chunkSize: CHUNK }), source)
  if (kind === 'gzip') {
    const quicker = (size ?? TOOL_WORTH) < TOOL_WORTH ? undefined : findTool('igzip')
    return quicker
      ? throughTool(kind, quicker, source)
      : throughZlib(kind, createGunzip({ chunkSize: CHUNK }), source)
  }
  const tool = findTool(kind)
  if (!tool)
    throw internal(
      `the archive is compressed by ${kind}, and this host has no program '${kind}' to read it: install it (Debian: apt install ${kind === 'xz' ? 'xz-utils' : kind})`,
    )
  return throughTool(kind, tool, source)
}

const CHUNK = 1 << 18

export interface PlainStream {
  compression: Compression
  /** The uncompressed bytes. Errors: `bad-request` for damaged data, and what the source throws. */
  stream: AsyncIterable<Buffer>
}

/** The first bytes of a source, and the whole source again. */
const peek = async (
  source: AsyncIterable<Uint8Array>,
): Promise<{ head: Uint8Array; all: AsyncIterable<Uint8Array> }> => {
  const iterator = source[Symbol.asyncIterator]()
  const parts: Uint8Array[] = []
  let length = 0
  while (length < MAGIC_LENGTH) {
    const next = await iterator.next()
    if (next.done) break
    parts.push(next.value)
    length += next.value.length
  }
  const all = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* parts
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  }
  return { head: Buffer.concat(parts), all: all() }
}

async function* buffers(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const chunk of source)
    yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

/**
 * Undoes whatever compression the first bytes tell. `size`, the compressed
 * size where it is known, decides whether a faster tool is worth its start.
 */
export const decompress = async (
  source: AsyncIterable<Uint8Array>,
  options: { size?: number } = {},
): Promise<PlainStream> => {
  const { head, all } = await peek(source)
  const compression = detectCompression(head)
  if (compression === 'none') return { compression, stream: buffers(all) }
  const readable = Readable.from(all, { objectMode: false, highWaterMark: 1 << 20 })
  return { compression, stream: decompressor(compression, readable, options.size) }
}

/** Compresses a stream, by zstd's level (1 to 22) where one is told; xz and bzip2 are read only. Errors: `not-implemented`. */
export const compress = (kind: Compression, source: Readable, zstdLevel?: number): Readable => {
  if (kind === 'none') return source
  if (kind === 'gzip') return pipeline(source, createGzip(), () => {})
  if (kind === 'zstd') {
    const params = zstdLevel === undefined ? {} : { [zlibConstants.ZSTD_c_compressionLevel]: zstdLevel }
    return pipeline(source, createZstdCompress({ params }), () => {})
  }
  throw notImplemented(`writing ${kind} archives`)
}
