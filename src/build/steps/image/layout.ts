import { BerthError, badRequest, hasCode, internal } from '../../../core/errors.ts'
import { digestOf, isDigest } from '../../../oci/digest.ts'
import { manifestLimit, manifestTypeOf } from '../../../registry-client/manifest.ts'
import type { ImageSource } from '../../../registry-client/types.ts'
import type { BuildClient } from '../../clients/types.ts'
import type { ClientStore } from '../../session/content.ts'

/** Images of OCI layouts that clients have (`oci-layout://`). */

const absent = (digest: string, cause: unknown): BerthError =>
  new BerthError('not-found', 404, `the OCI layout of the client has no blob ${digest}`, { cause })

const readDocument = async (store: ClientStore, digest: string): Promise<Buffer> => {
  if (!isDigest(digest))
    throw badRequest(`an image of an OCI layout is named by its digest, not by ${digest}`)
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of store.read(digest)) {
      size += chunk.length
      if (size > manifestLimit)
        throw badRequest(
          `manifest ${digest} of the client’s OCI layout is longer than ${manifestLimit} bytes`,
        )
      chunks.push(chunk)
    }
  } catch (error) {
    throw hasCode(error, 'not-found') ? absent(digest, error) : error
  }
  const bytes = Buffer.concat(chunks)
  if (digestOf(bytes) !== digest)
    throw internal(
      `manifest verification failed for digest ${digest}: the OCI layout of the client is damaged`,
    )
  return bytes
}

/** `store`: its name in the client’s session. Errors: `bad-request` of a client without a session. */
export const layoutOf = (client: Pick<BuildClient, 'store'>, store: string): ImageSource => {
  const open = (signal: AbortSignal): ClientStore => {
    const found = client.store(`oci:${store}`, signal)
    if (!found) throw badRequest('an image of an OCI layout wants a client with a session')
    return found
  }
  return {
    manifest: async (digest, signal) => {
      const bytes = await readDocument(open(signal), digest)
      const mediaType = manifestTypeOf('', bytes)
      return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes }
    },
    blob: async function* ({ digest }, { signal, offset = 0 }) {
      try {
        yield* open(signal).read(digest, { offset })
      } catch (error) {
        throw hasCode(error, 'not-found') ? absent(digest, error) : error
      }
    },
  }
}
