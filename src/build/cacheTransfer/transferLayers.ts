import type { Digest } from '../../oci/digest.ts'
import { layerBlob } from '../export/layerBlobs.ts'
import type { ExportStep } from '../export/types.ts'
import type { LayerRef, SolvedResult, Tree } from '../solver/types.ts'
import { layerKey, type TransferLayer } from './form.ts'
import type { CacheExport } from './types.ts'

/** Layers of a cache that is exported, as blobs. */

/** What a build gave that a cache is made of. */
export interface CacheContent {
  /** What was built for each platform. */
  trees: readonly Tree[]
  results: readonly SolvedResult[]
}

/** Stacks that go along, each that may be a part of another one after it. */
export const stacksOf = (
  { trees, results }: CacheContent,
  mode: CacheExport['mode'],
): readonly (readonly LayerRef[])[] => {
  const built = trees.map(({ layers }) => layers)
  if (mode === 'min') return built
  return [...built, ...results.flatMap(({ record }) => (record ? [record.tree.layers] : []))]
}

export interface MadeLayer extends TransferLayer {
  /** Its blob is in the store. */
  isHere: boolean
  /** Up to itself, bottom first: what is to be fetched where its blob is nowhere else. */
  stack: readonly LayerRef[]
}

interface Making {
  step: ExportStep
  options: CacheExport['options']
  /** Blobs that nothing names yet. */
  brought: Digest[]
}

const madeLayer = async (making: Making, layer: LayerRef, stack: readonly LayerRef[]): Promise<MadeLayer> => {
  const { content } = making.step.engine
  if (layer.kind === 'image' && !(await content.info(layer.blob))) {
    const { blob: digest, mediaType, size, diffId, origin } = layer
    return { digest, mediaType, size, diffId, stack, isHere: false, ...(origin ? { origin } : {}) }
  }
  const { descriptor, told } = await layerBlob({ ...making, isKept: true }, layer)
  const { digest, mediaType, size } = descriptor
  const { diffId, created, description } = told
  const origin = created === undefined ? {} : { origin: { created, description } }
  return { digest, mediaType, size, diffId, stack, isHere: true, ...origin }
}

/** Of all stacks by `layerKey`. Layers of images that never came are fetched by nobody for it: who takes them may have them. */
export const transferLayers = async (
  making: Making,
  stacks: readonly (readonly LayerRef[])[],
): Promise<Map<string, MadeLayer>> => {
  const layers = new Map<string, MadeLayer>()
  for (const stack of stacks)
    for (const [index, layer] of stack.entries()) {
      making.step.operation.signal.throwIfAborted()
      const key = layerKey(layer)
      // One after the other: each is compressed by several threads.
      if (!layers.has(key)) layers.set(key, await madeLayer(making, layer, stack.slice(0, index + 1)))
    }
  return layers
}
