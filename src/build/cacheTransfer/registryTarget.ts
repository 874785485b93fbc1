import { BerthError, hasCode } from '../../core/errors.ts'
import { Sending } from '../../engine/images/pushSending.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import { familiar, type Reference } from '../../oci/reference.ts'
import type { CredentialsOf } from '../export/push.ts'
import type { ExportStep } from '../export/types.ts'
import type { CacheTarget } from './types.ts'

/** A repository takes a cache. */
export const registryTarget = async (
  { engine, operation: { signal } }: ExportStep,
  name: Reference,
  credentialsOf: CredentialsOf,
): Promise<CacheTarget> => {
  const credentials = await credentialsOf(name.domain, signal)
  const repository = engine.registries.repository(name.domain, name.path, credentials)
  const blobOf = async (descriptor: Descriptor) => {
    const here = (await engine.content.info(descriptor.digest)) !== undefined
    return { descriptor, here, isLayer: false }
  }
  const noRoot: Digest = `sha256:${'0'.repeat(64)}`
  return {
    has: async ({ digest }) => await repository.hasBlob(digest, signal),
    send: async descriptors => {
      using sending = new Sending(engine, { name, repository, signal, report: () => {} }, noRoot)
      const blobs = await Promise.all(descriptors.map(blobOf))
      if (!(await sending.sendAll(blobs)))
        throw new BerthError('content-missing', 404, `a layer of the cache for ${familiar(name)} has gone`)
    },
    finish: async ({ descriptor, bytes }) => {
      try {
        await repository.putManifest(name.tag ?? descriptor.digest, { descriptor, bytes }, signal)
      } catch (error) {
        if (!hasCode(error, 'registry-refused')) throw error
        throw new BerthError(
          'registry-refused',
          502,
          `${familiar(name)} does not take the cache: ${(error as Error).message}; an index of layers is refused by some registries: leave image-manifest=false out`,
          { cause: error },
        )
      }
    },
  }
}
