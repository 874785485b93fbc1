import { BerthError, badRequest, hasCode, internal } from '../../core/errors.ts'
import { parseDocument, readConfig } from '../../engine/images/pullPlan.ts'
import { type Digest, isDigest } from '../../oci/digest.ts'
import type { Descriptor, Index, Manifest } from '../../oci/image.ts'
import type { ImageSource } from '../../registry-client/types.ts'
import type { BuildClient } from '../clients/types.ts'
import type { ClientStore } from '../session/content.ts'
import { type ReadCache, readCacheForm } from './readForm.ts'
import { type CacheTarget, cacheConfigType } from './types.ts'

/** Caches in folders of the client, which it serves as stores of blobs. */

type StoreClient = Pick<BuildClient, 'store'>

/** Errors: `bad-request` of a client without a session. */
const storeOf = (client: StoreClient, folder: string, signal: AbortSignal): ClientStore => {
  const store = client.store(`local:${folder}`, signal)
  if (!store) throw badRequest('a cache in a folder (type=local) wants a client with a session')
  return store
}

/** Its layers are fetched as those of a repository are. */
export const clientSource = (client: StoreClient, folder: string): ImageSource => ({
  blob: ({ digest }, { signal, offset = 0 }) => storeOf(client, folder, signal).read(digest, { offset }),
  manifest: () => {
    throw internal('a cache in a folder of the client has no manifests of images')
  },
})

interface ClientCache {
  client: StoreClient
  folder: string
  /** Of its index or manifest. */
  digest: Digest
  /** By which its layers are asked for. */
  reference: string
  signal: AbortSignal
}

const sizeOf = async ({ client, folder, signal }: ClientCache, digest: Digest): Promise<number> => {
  try {
    return (await storeOf(client, folder, signal).info(digest)).size
  } catch (error) {
    if (!hasCode(error, 'not-found')) throw error
    throw new BerthError('not-found', 404, `the cache ${digest} is not in ${folder}`, { cause: error })
  }
}

const readDocument = async <T>(cache: ClientCache, digest: Digest): Promise<T> => {
  const { client, folder, signal } = cache
  const descriptor = { mediaType: '', digest, size: await sizeOf(cache, digest) }
  const repository = clientSource(client, folder)
  const bytes = await readConfig(descriptor, { repository, platform: undefined, signal })
  return parseDocument<T>(bytes, `the cache in ${folder}`)
}

const configOf = ({ config, manifests }: Partial<Manifest & Index>): Descriptor | undefined => {
  const all = [...(config ? [config] : []), ...(Array.isArray(manifests) ? manifests : [])]
  return all.find(descriptor => descriptor?.mediaType === cacheConfigType)
}

/** Errors: `not-found`, `bad-request` for what makes no sense, those of a call. */
export const readClientCache = async (cache: ClientCache): Promise<ReadCache> => {
  const { folder, digest, reference } = cache
  const config = configOf(await readDocument<Partial<Manifest & Index>>(cache, digest))
  if (!config || !isDigest(config.digest)) throw badRequest(`there is no cache of builds in ${folder}`)
  return readCacheForm(await readDocument(cache, config.digest), reference)
}

async function* whole(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** A folder of the client takes a cache; `open` gives blobs of the store. */
export const clientTarget = (
  client: StoreClient,
  {
    folder,
    signal,
    open,
  }: { folder: string; signal: AbortSignal; open(digest: Digest): AsyncIterable<Uint8Array> },
): CacheTarget => {
  const store = storeOf(client, folder, signal)
  const has = async ({ digest }: Pick<Descriptor, 'digest'>): Promise<boolean> => {
    try {
      await store.info(digest)
      return true
    } catch (error) {
      if (hasCode(error, 'not-found')) return false
      throw error
    }
  }
  return {
    has,
    send: async blobs => {
      for (const blob of blobs) if (!(await has(blob))) await store.write(blob, open(blob.digest))
    },
    finish: async ({ descriptor, bytes }) => await store.write(descriptor, whole(bytes)),
  }
}
