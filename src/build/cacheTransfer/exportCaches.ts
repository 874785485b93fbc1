import { messageOf } from '../../core/errors.ts'
import type { Build } from '../build.ts'
import type { BuildOutcome, Told } from '../export/types.ts'
import { exportCache } from './exportCache.ts'
import { registryTarget } from './registryTarget.ts'
import type { CacheContent } from './transferLayers.ts'
import type { CacheExport } from './types.ts'

/** The caches that a client wants written, once a build has ended well. */

const contentOf = async ({ platforms }: BuildOutcome): Promise<CacheContent> => ({
  trees: platforms.map(({ tree }) => tree),
  results: (await Promise.all(platforms.map(({ results }) => results()))).flat(),
})

const exportOne = async (build: Build, cache: CacheExport, content: CacheContent): Promise<Told> => {
  const { to } = cache
  // It is in the image.
  if (to.kind === 'inline') return {}
  return await build.export('exporting cache to registry', async step => {
    const target = await registryTarget(step, to.name, build.client.credentials)
    return await exportCache(step, cache, { content, target })
  })
}

/** Gives what the client is told. Errors: those of an export, unless it says that they do not matter. */
export const exportCaches = async (
  build: Build,
  caches: readonly CacheExport[],
  outcome: BuildOutcome,
): Promise<Told> => {
  const told: Told = {}
  const content = await contentOf(outcome)
  for (const cache of caches)
    try {
      Object.assign(told, await exportOne(build, cache, content))
    } catch (error) {
      if (!cache.ignoresErrors || build.signal.aborted) throw error
      await build.step(`[internal] going on without this cache: ${messageOf(error)}`, async () => {})
    }
  return told
}
