import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { BerthError } from '../../../core/errors.ts'
import { AT_FDCWD, setTimesAt } from '../../../linux/files.ts'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import type { Download as Answer, RegistryClient } from '../../../registry-client/types.ts'
import type { SourceOperation } from '../../graph/types.ts'
import { unescaped, withoutPassword } from '../../plan/gitUrl.ts'

/** Files that are downloaded: `ADD https://…`, and contexts that are an address. */

export type HttpOperation = Extract<SourceOperation, { kind: 'http' }>

/** What came of a download, so that the next one need not be where nothing has changed. */
export interface HttpRecord {
  filename: string
  digest: Digest
  size: number
  /** As the server tells it. */
  etag?: string
  /** In the form of HTTP. */
  lastModified?: string
}

const headerOf = ({ headers }: Answer, name: string): string | undefined => [headers[name] ?? []].flat()[0]

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

export interface Wanted {
  /** What came the last time. */
  known?: HttpRecord | undefined
  /** Over whose proxies it comes, as images do. */
  registries: Pick<RegistryClient, 'download'>
  signal: AbortSignal
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
  { operation, wanted }: { operation: HttpOperation; wanted: Wanted },
): Promise<{ digest: Digest; checksum: string; size: number }> => {
  const [hash, checked] = [createHash('sha256'), createHash(hashName(operation.checksum))]
  await using handle = await open(file, 'wx', 0o600)
  let size = 0
  for await (const chunk of answer.bytes) {
    hash.update(chunk)
    if (operation.checksum !== undefined) checked.update(chunk)
    await handle.writeFile(chunk)
    size += chunk.length
    wanted.onProgress?.(size, answer.size ?? 0)
  }
  await handle.chown(operation.uid ?? 0, operation.gid ?? 0)
  await handle.chmod(operation.mode ?? 0o600)
  return {
    digest: `sha256:${hash.digest('hex')}`,
    checksum: `${hashName(operation.checksum)}:${checked.digest('hex')}`,
    size,
  }
}

/** In the words of a build; those that say why remain. */
const failed = (url: string, error: unknown): unknown =>
  error instanceof BerthError
    ? new BerthError(
        'download-failed',
        error.status,
        `cannot download ${withoutPassword(url)}: ${error.message}`,
        {
          cause: error,
        },
      )
    : error

/**
 * Downloads into a folder: one file, whose time is that of the server's, or the epoch. Of what is known and still the
 * same nothing comes: the record is `known` itself. Errors: `download-failed`, `digest-mismatch`, the signal's reason.
 */
export const download = async (operation: HttpOperation, wanted: Wanted): Promise<HttpRecord> => {
  const { url, checksum } = operation
  const came = await fetched(operation, wanted).catch(error => {
    wanted.signal.throwIfAborted()
    throw failed(url, error)
  })
  if ('known' in came) return came.known
  const { answer, filename, got } = came
  if (checksum !== undefined && got.checksum !== checksum)
    throw new BerthError(
      'digest-mismatch',
      400,
      `digest mismatch for ${withoutPassword(url)}: ${got.checksum} (expected: ${checksum})`,
    )
  const lastModified = headerOf(answer, 'last-modified')
  const etag = headerOf(answer, 'etag')
  const time = BigInt(Math.max(Date.parse(lastModified ?? '') || 0, 0)) * 1_000_000n
  setTimesAt({ dir: AT_FDCWD, name: path.join(wanted.root, filename) }, time, time)
  return {
    filename,
    digest: got.digest,
    size: got.size,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined || time === 0n ? {} : { lastModified }),
  }
}

const fetched = async (operation: HttpOperation, wanted: Wanted) => {
  const { signal, known } = wanted
  const answer = await wanted.registries.download(new URL(operation.url), signal, known?.etag)
  if (known && answer.isKnown) return { known }
  const filename = fileName(operation, answer)
  const got = await receive(answer, path.join(wanted.root, filename), { operation, wanted })
  return { answer, filename, got }
}
