import { messageOf } from '../../core/errors.ts'
import type { Build } from '../build.ts'
import type { BuildOutcome, Told } from '../export/types.ts'
import type { Session } from '../session/session.ts'
import { clientTarget, contentOf } from './clientCache.ts'
import { exportCache } from './exportCache.ts'
import { registryTarget } from './registryTarget.ts'
import type { CacheContent } from './transferLayers.ts'
import type { CacheExport } from './types.ts'

/** The caches that a client wants written, once a build has ended well. */

const whatWasBuilt = async ({ platforms }: BuildOutcome): Promise<CacheContent> => ({
  trees: platforms.map(({ tree }) => tree),
  results: (await Promise.all(platforms.map(({ results }) => results()))).flat(),
})

interface Exporting {
  outcome: BuildOutcome
  session: Session
}

const exportOne = async (
  build: Build,
  cache: CacheExport,
  { content, session }: { content: CacheContent; session: Session },
): Promise<Told> => {
  const { to } = cache
  // It is in the image.
  if (to.kind === 'inline') return {}
  if (to.kind === 'local')
    return await build.export('exporting cache to client directory', async step => {
      const target = clientTarget(step, contentOf(session, to.folder))
      return await exportCache(step, cache, { content, target })
    })
  return await build.export('exporting cache to registry', async step => {
    const target = await registryTarget(step, to.name, build.client.credentials)
    return await exportCache(step, cache, { content, target })
  })
}

/** Gives what the client is told. Errors: those of an export, unless it says that they do not matter. */
export const exportCaches = async (
  build: Build,
  caches: readonly CacheExport[],
  { outcome, session }: Exporting,
): Promise<Told> => {
  const told: Told = {}
  const content = await whatWasBuilt(outcome)
  for (const cache of caches)
    try {
      Object.assign(told, await exportOne(build, cache, { content, session }))
    } catch (error) {
      if (!cache.ignoresErrors || build.signal.aborted) throw error
      await build.step(`[internal] going on without this cache: ${messageOf(error)}`, async () => {})
    }
  return told
}
