import { BerthError, badRequest, internal } from '../../core/errors.ts'
import { parseDocument } from '../../engine/images/pullPlan.ts'
import { type Digest, digestOf, isDigest } from '../../oci/digest.ts'
import type { Descriptor, Index, Manifest } from '../../oci/image.ts'
import type { Repository } from '../../registry-client/types.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { ExportStep } from '../export/types.ts'
import { type ClientContent, clientContent } from '../session/content.ts'
import type { Session } from '../session/session.ts'
import { type ReadCache, readCacheForm } from './readForm.ts'
import { type CacheTarget, cacheConfigType } from './types.ts'

/** Caches in folders of the client, which it serves over its session. */

/** Under which clients know a folder. */
const storeOf = (folder: string): string => `local:${folder}`

/** Read into memory. Bytes. */
const mostDocument = 8 << 20

const readDocument = async (
  content: ClientContent,
  digest: Digest,
  { folder, signal }: { folder: string; signal: AbortSignal },
): Promise<Buffer> => {
  const info = await content.info(digest, signal)
  if (!info) throw new BerthError('not-found', 404, `the cache ${digest} is not in ${folder}`)
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of content.read(digest, { signal })) {
    size += chunk.length
    if (size > mostDocument) throw badRequest(`the cache in ${folder} is damaged: ${digest} is too large`)
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  if (digestOf(bytes) !== digest)
    throw badRequest(`the cache in ${folder} is damaged: ${digest} holds something else`)
  return bytes
}

/** Layers of a cache are fetched as those of a repository are. */
export const clientRepository = (content: ClientContent): Repository => {
  const refused = (): never => {
    throw internal('a folder of a client has blobs and nothing else')
  }
  return {
    blob: ({ digest }, { signal, offset = 0 }) => content.read(digest, { signal, offset }),
    manifest: refused,
    resolve: refused,
    tags: refused,
    hasBlob: refused,
    hasManifest: refused,
    mountBlob: refused,
    uploadBlob: refused,
    putManifest: refused,
  }
}

const configOf = ({ config, manifests = [] }: Partial<Manifest & Index>): Descriptor | undefined =>
  [...(config ? [config] : []), ...manifests].find(({ mediaType }) => mediaType === cacheConfigType)

export interface ClientCache {
  folder: string
  /** Of its index or manifest. */
  digest: Digest
  /** By which its layers are asked for. */
  reference: string
}

/** Errors: `not-found`, `bad-request` for what makes no sense, those of a call. */
export const readClientCache = async (
  content: ClientContent,
  { folder, digest, reference }: ClientCache,
  signal: AbortSignal,
): Promise<ReadCache> => {
  const root = await readDocument(content, digest, { folder, signal })
  const config = configOf(parseDocument<Partial<Manifest & Index>>(root, `the cache in ${folder}`))
  if (!config || !isDigest(config.digest)) throw badRequest(`there is no cache of builds in ${folder}`)
  const bytes = await readDocument(content, config.digest, { folder, signal })
  return readCacheForm(parseDocument(bytes, `the cache in ${folder}`), reference)
}

export const contentOf = (session: Session, folder: string): ClientContent =>
  clientContent(session, storeOf(folder))

/** A folder of the client takes a cache. */
export const clientTarget = ({ engine, operation }: ExportStep, content: ClientContent): CacheTarget => {
  const { signal } = operation
  const has = async ({ digest }: BlobInfo): Promise<boolean> =>
    (await content.info(digest, signal)) !== undefined
  const write = async (blob: BlobInfo, source: AsyncIterable<Uint8Array>): Promise<void> => {
    if (!(await has(blob))) await content.write(blob, source, signal)
  }
  return {
    has,
    send: async blobs => {
      for (const blob of blobs) await write(blob, engine.content.open(blob.digest))
    },
    finish: async ({ descriptor, bytes }) => {
      const whole = async function* (): AsyncGenerator<Uint8Array> {
        yield bytes
      }
      await write(descriptor, whole())
    },
  }
}
