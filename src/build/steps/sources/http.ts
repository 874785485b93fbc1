import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import path from 'node:path'
import type { Dispatcher } from 'undici'
import { BerthError, messageOf } from '../../../core/errors.ts'
import { AT_FDCWD, setTimesAt } from '../../../linux/files.ts'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import type { SourceOperation } from '../../graph/types.ts'
import { unescaped } from '../../plan/gitUrl.ts'

/** Files that are downloaded: `ADD https://…`, and contexts that are an address. */

export type HttpOperation = Extract<SourceOperation, { kind: 'http' }>

/** What came of a download, for the next one to be compared with. */
export interface HttpRecord {
  filename: string
  digest: Digest
  size: number
  /** As the server tells it, without `W/`. */
  etag?: string
  /** In the form of HTTP. */
  lastModified?: string
}

/** Connections to servers; `httpConnections` makes them. */
export interface HttpConnections extends AsyncDisposable {
  readonly dispatcher: Dispatcher
}

const REDIRECTS = 10
/** Milliseconds: for a connection to be there, and without a byte. */
const CONNECT = 30_000
const SILENCE = 60_000

/** Through the proxies of the environment, as undici has them. */
export const httpConnections = async (): Promise<HttpConnections> => {
  const { EnvHttpProxyAgent, interceptors } = await import('undici')
  const agent = new EnvHttpProxyAgent({
    connectTimeout: CONNECT,
    headersTimeout: SILENCE,
    bodyTimeout: SILENCE,
  })
  return {
    dispatcher: agent.compose(interceptors.redirect({ maxRedirections: REDIRECTS })),
    [Symbol.asyncDispose]: () => agent.destroy(),
  }
}

/** The address without a password, for messages. */
const shownUrl = (text: string): string => {
  const url = new URL(text)
  if (url.password !== '') url.password = 'xxxxx'
  return url.href
}

type Answer = Dispatcher.ResponseData

interface Asking {
  connections: HttpConnections
  signal: AbortSignal
}

const ask = async (
  { url }: HttpOperation,
  { connections, signal }: Asking,
  { method, headers = {} }: { method: 'GET' | 'HEAD'; headers?: Record<string, string> },
): Promise<Answer> => {
  const { request } = await import('undici')
  try {
    return await request(url, { method, headers, signal, dispatcher: connections.dispatcher })
  } catch (error) {
    throw failed(url, error, signal)
  }
}

const failed = (url: string, error: unknown, signal: AbortSignal): unknown =>
  signal.aborted
    ? signal.reason
    : new BerthError('download-failed', 500, `cannot download ${shownUrl(url)}: ${messageOf(error)}`, {
        cause: error,
      })

const headerOf = ({ headers }: Answer, name: string): string | undefined => [headers[name] ?? []].flat()[0]

const etagOf = (answer: Answer): string | undefined => headerOf(answer, 'etag')?.replace(/^W\//, '')

const nameForm = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))/i

/** What the server calls the file. */
const toldName = (answer: Answer | undefined): string | undefined => {
  const told = answer && nameForm.exec(headerOf(answer, 'content-disposition') ?? '')
  const name = told && (told[1]?.replace(/\\(.)/g, '$1') ?? told[2])
  return name && !name.endsWith('/') ? path.posix.basename(name) : undefined
}

const isName = (name: string | undefined): name is string =>
  name !== undefined && name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)

const lastPart = (url: string): string => {
  const { pathname } = new URL(url)
  return path.posix.basename(unescaped(pathname) ?? pathname)
}

/** By the operation, else as the server calls it, else the last part of the address. */
const fileName = ({ filename, url }: HttpOperation, answer?: Answer): string =>
  [filename, toldName(answer), lastPart(url)].find(isName) ?? 'download'

/** The key of a download: what it is, under which name, of whom. With a checksum nothing need be asked. */
export const httpKey = (
  operation: HttpOperation,
  { filename, digest, lastModified = '' }: Pick<HttpRecord, 'filename' | 'digest' | 'lastModified'>,
): Digest => {
  const { mode = 0o600, uid = 0, gid = 0 } = operation
  return digestOf(JSON.stringify(['http', filename, digest, lastModified, mode, uid, gid]))
}

/** The key where a checksum tells it without a question. */
export const pinnedKey = (operation: HttpOperation): Digest | undefined => {
  const { checksum, mode = 0o600, uid = 0, gid = 0 } = operation
  if (checksum === undefined) return undefined
  return digestOf(JSON.stringify(['http', fileName(operation), checksum, mode, uid, gid]))
}

/**
 * Which of the downloads that are kept the server still has; undefined where it has another, or does not tell. Some
 * servers give ETags and know nothing of If-None-Match: they are compared here.
 */
export const findUnchanged = async (
  operation: HttpOperation,
  known: readonly HttpRecord[],
  asking: Asking,
): Promise<HttpRecord | undefined> => {
  const tagged = known.filter(({ etag }) => etag !== undefined)
  if (tagged.length === 0) return undefined
  const headers = { 'if-none-match': tagged.map(({ etag }) => etag).join(', ') }
  let answer: Answer
  try {
    answer = await ask(operation, asking, { method: 'HEAD', headers })
  } catch (error) {
    if (asking.signal.aborted) throw error
    return undefined
  }
  await answer.body.dump()
  if (answer.statusCode !== 200 && answer.statusCode !== 304) return undefined
  const isOnlyOne = answer.statusCode === 304 && tagged.length === 1
  const etag = etagOf(answer) ?? (isOnlyOne ? tagged[0]?.etag : undefined)
  return tagged.find(record => record.etag === etag)
}

export interface Download extends Asking {
  /** The folder of a new snapshot. */
  root: string
  /** Bytes so far, and of all, where the server tells. */
  onProgress?: (current: number, total: number) => void
}

const hashName = (checksum: string | undefined): string => checksum?.split(':')[0] ?? 'sha256'

/** Takes the body into a new file; both digests that are wanted of it. */
const receive = async (
  answer: Answer,
  file: string,
  { operation, download }: { operation: HttpOperation; download: Download },
): Promise<{ digest: Digest; checksum: string; size: number }> => {
  const total = Number(headerOf(answer, 'content-length') ?? 0)
  const [hash, wanted] = [createHash('sha256'), createHash(hashName(operation.checksum))]
  await using handle = await open(file, 'wx', 0o600)
  let size = 0
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    hash.update(chunk)
    if (operation.checksum !== undefined) wanted.update(chunk)
    await handle.writeFile(chunk)
    size += chunk.length
    download.onProgress?.(size, total)
  }
  await handle.chown(operation.uid ?? 0, operation.gid ?? 0)
  await handle.chmod(operation.mode ?? 0o600)
  return {
    digest: `sha256:${hash.digest('hex')}`,
    checksum: `${hashName(operation.checksum)}:${wanted.digest('hex')}`,
    size,
  }
}

/**
 * Downloads into a folder: one file, whose time is that of the server's, or the epoch. Errors: `download-failed`,
 * `digest-mismatch`, the signal's reason.
 */
export const download = async (operation: HttpOperation, wanted: Download): Promise<HttpRecord> => {
  const { url, checksum } = operation
  const answer = await ask(operation, wanted, { method: 'GET' })
  if (answer.statusCode < 200 || answer.statusCode >= 300) {
    await answer.body.dump()
    throw new BerthError(
      'download-failed',
      500,
      `cannot download ${shownUrl(url)}: invalid response status ${answer.statusCode}`,
    )
  }
  const filename = fileName(operation, answer)
  const file = path.join(wanted.root, filename)
  const got = await receive(answer, file, { operation, download: wanted }).catch(error => {
    throw isOwn(error) ? error : failed(url, error, wanted.signal)
  })
  if (checksum !== undefined && got.checksum !== checksum)
    throw new BerthError(
      'digest-mismatch',
      400,
      `digest mismatch for ${shownUrl(url)}: ${got.checksum} (expected: ${checksum})`,
    )
  const lastModified = headerOf(answer, 'last-modified')
  const time = BigInt(Math.max(Date.parse(lastModified ?? '') || 0, 0)) * 1_000_000n
  setTimesAt({ dir: AT_FDCWD, name: file }, time, time)
  const etag = etagOf(answer)
  return {
    filename,
    digest: got.digest,
    size: got.size,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined || time === 0n ? {} : { lastModified }),
  }
}

/** Of the disk, and not of the network. */
const isOwn = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  ['ENOSPC', 'EDQUOT', 'EEXIST', 'EIO'].includes(String(error.code))
