import type { Digest } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import { layerBlob, layerType } from '../export/layerBlobs.ts'
import type { ExportStep } from '../export/types.ts'
import type { LayerRef, SolvedResult, Tree } from '../solver/types.ts'
import { layerKey, type TransferLayer } from './form.ts'
import { knownForm, noteForm } from './knownForms.ts'
import type { CacheExport, CacheTarget } from './types.ts'

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
  /** Has some of the layers from earlier builds. */
  target: Pick<CacheTarget, 'has'>
  /** Blobs that nothing names yet. */
  brought: Digest[]
}

type Form = Omit<MadeLayer, 'stack'>

/** A layer that was compressed before, and whose blob is here or where it is to go. */
const knownLayer = async ({ step, options, target }: Making, id: string): Promise<Form | undefined> => {
  const { engine, snapshots } = step
  const diffId = snapshots.find(id)?.diffId
  const form = diffId && knownForm(engine, diffId, options)
  if (!form) return undefined
  const mediaType = layerType(options.compression, options.isOci)
  const isHere = (await engine.content.info(form.digest)) !== undefined
  if (!isHere && !(await target.has({ ...form, mediaType }))) return undefined
  return { ...form, mediaType, diffId, isHere, origin: step.originOf(id) }
}

const packedLayer = async (making: Making, layer: LayerRef): Promise<Form> => {
  const { descriptor, told } = await layerBlob({ ...making, isKept: true }, layer)
  const { digest, mediaType, size } = descriptor
  const { diffId, created, description } = told
  const origin = created === undefined ? {} : { origin: { created, description } }
  return { digest, mediaType, size, diffId, isHere: true, ...origin }
}

const madeLayer = async (making: Making, layer: LayerRef): Promise<Form> => {
  const { engine } = making.step
  if (layer.kind === 'snapshot') {
    const known = await knownLayer(making, layer.id)
    if (known) return known
    const made = await packedLayer(making, layer)
    noteForm(engine, made.diffId, { ...made, packing: making.options })
    return made
  }
  return await imageLayer(making, layer)
}

/** As it came, unless it was unpacked from another blob; one that never came is fetched only if it has to be. */
const imageLayer = async (making: Making, layer: LayerRef & { kind: 'image' }): Promise<Form> => {
  const { content } = making.step.engine
  if (await content.info(layer.blob)) return await packedLayer(making, layer)
  const { blob: digest, mediaType, size, diffId, origin } = layer
  const elsewhere = { digest, mediaType, size, diffId, isHere: false, ...(origin ? { origin } : {}) }
  const plain = await content.info(diffId)
  if (!plain || (await making.target.has(elsewhere))) return elsewhere
  const options = { ...making.options, isForced: true }
  return await packedLayer({ ...making, options }, { ...layer, blob: diffId, mediaType: mediaTypes.ociLayer })
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
      if (!layers.has(key))
        layers.set(key, { ...(await madeLayer(making, layer)), stack: stack.slice(0, index + 1) })
    }
  return layers
}
