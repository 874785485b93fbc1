import { messageOf } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Build } from '../build.ts'
import type { BuildOutcome, Told } from '../export/types.ts'
import { clientTarget } from './clientCache.ts'
import { exportCache } from './exportCache.ts'
import { registryTarget } from './registryTarget.ts'
import type { CacheContent } from './transferLayers.ts'
import type { CacheExport } from './types.ts'

/** The caches that a client wants written, once a build has ended well. */

const whatWasBuilt = async ({ platforms }: BuildOutcome): Promise<CacheContent> => ({
  trees: platforms.map(({ tree }) => tree),
  results: (await Promise.all(platforms.map(({ results }) => results()))).flat(),
})

const exportOne = async (build: Build, cache: CacheExport, content: CacheContent): Promise<Told> => {
  const { to } = cache
  const { client } = build
  if (to.kind === 'registry')
    return await build.export('exporting cache to registry', async step => {
      const target = await registryTarget(step, to.name, client.credentials)
      return await exportCache(step, cache, { content, target })
    })
  if (to.kind === 'local')
    return await build.export('exporting cache to client directory', async step => {
      const { engine, operation } = step
      const open = (digest: Digest): AsyncIterable<Uint8Array> => engine.content.open(digest)
      const target = clientTarget(client, { folder: to.folder, signal: operation.signal, open })
      return await exportCache(step, cache, { content, target })
    })
  return {}
}

/** Gives what the client is told. Errors: those of an export, unless it says that they do not matter. */
export const exportCaches = async (
  build: Build,
  caches: readonly CacheExport[],
  outcome: BuildOutcome,
): Promise<Told> => {
  const told: Told = {}
  // The others are in the image.
  const sent = caches.filter(({ to }) => to.kind !== 'inline')
  if (sent.length === 0) return told
  const content = await whatWasBuilt(outcome)
  for (const cache of sent)
    try {
      Object.assign(told, await exportOne(build, cache, content))
    } catch (error) {
      if (!cache.ignoresErrors || build.signal.aborted) throw error
      await build.step(`[internal] going on without this cache: ${messageOf(error)}`, async () => {})
    }
  return told
}
