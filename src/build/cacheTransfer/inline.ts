import type { BuildOutcome, InlineCache, PlatformResult } from '../export/types.ts'
import type { LayerRef } from '../solver/types.ts'
import { inlineForms, layerKey } from './form.ts'

/** Caches within images that were built: records in their configurations, over their own layers. */

const inlineCacheOf = async ({ tree, results }: PlatformResult): Promise<InlineCache> => {
  const solved = await results()
  return told => {
    const origins = new Map(
      tree.layers.map((layer, index) => {
        const { created, description = '' } = told[index] ?? {}
        return [layerKey(layer), created === undefined ? undefined : { created, description }]
      }),
    )
    const originOf = (layer: LayerRef) => origins.get(layerKey(layer))
    const forms = inlineForms(solved, { layers: tree.layers, originOf })
    return Buffer.from(JSON.stringify(forms)).toString('base64')
  }
}

/** Each platform's image gets the cache of its own build. */
export const withInlineCaches = async (outcome: BuildOutcome): Promise<BuildOutcome> => {
  const platforms = outcome.platforms.map(async platform => ({
    ...platform,
    inlineCache: await inlineCacheOf(platform),
  }))
  return { ...outcome, platforms: await Promise.all(platforms) }
}
