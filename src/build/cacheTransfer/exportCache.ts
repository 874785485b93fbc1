import { withIncoming } from '../../engine/images/assemble.ts'
import { collectQuietly } from '../../engine/images/collect.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { type Descriptor, type Manifest, mediaTypes } from '../../oci/image.ts'
import type { ExportStep } from '../export/types.ts'
import { cacheForm } from './form.ts'
import { type CacheContent, type MadeLayer, stacksOf, transferLayers } from './transferLayers.ts'
import { type CacheExport, type CacheForm, cacheConfigType } from './types.ts'

/** Writes a cache: its layers, its configuration, and what names both. */

/** A small blob that is made for it. */
export interface CacheDocument {
  descriptor: Descriptor
  bytes: Buffer
}

/** Who takes a cache. What it has already is not sent. */
export interface CacheTarget {
  has(blob: Descriptor): Promise<boolean>
  /** Blobs of the store. */
  send(blobs: readonly Descriptor[]): Promise<void>
  /** The last: what the cache is known by. */
  finish(document: CacheDocument): Promise<void>
}

const documentOf = (mediaType: string, value: unknown): CacheDocument => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } }
}

const layerDescriptor = ({ mediaType, digest, size, diffId, origin }: MadeLayer): Descriptor => ({
  ...{ mediaType, digest, size },
  annotations: {
    'containerd.io/uncompressed': diffId,
    ...(origin ? { 'buildkit/createdat': origin.created } : {}),
  },
})

/** A list of manifests that names layers: BuildKit's older form, which not all registries take. */
const rootDocument = (
  config: Descriptor,
  layers: readonly Descriptor[],
  { isImageManifest, options: { isOci } }: CacheExport,
): CacheDocument => {
  if (isImageManifest) {
    const mediaType = mediaTypes.ociManifest
    const manifest: Manifest = { schemaVersion: 2, mediaType, config, layers: [...layers] }
    return documentOf(mediaType, manifest)
  }
  const mediaType = isOci ? mediaTypes.ociIndex : mediaTypes.dockerList
  return documentOf(mediaType, { schemaVersion: 2, mediaType, manifests: [...layers, config] })
}

/** Layers of images that never came here, and that the target has not either. */
const bringMissing = async (
  step: ExportStep,
  layers: readonly MadeLayer[],
  target: CacheTarget,
): Promise<void> => {
  for (const layer of layers)
    if (!layer.isHere && !(await target.has(layerDescriptor(layer))))
      await step.bring({ layers: layer.stack })
}

const usedLayers = ({ layers }: CacheForm, made: ReadonlyMap<string, MadeLayer>): MadeLayer[] => {
  const used = new Set(layers.map(({ blob }) => blob))
  return [...new Map([...made.values()].map(layer => [layer.digest, layer])).values()].filter(({ digest }) =>
    used.has(digest),
  )
}

/** Gives what the client is told. The caller holds the results. Errors: those of the target, and of who has the layers. */
export const exportCache = async (
  step: ExportStep,
  cache: CacheExport,
  { content, target }: { content: CacheContent; target: CacheTarget },
): Promise<Record<string, string>> => {
  const { engine, operation } = step
  const made: Digest[] = []
  const told = await withIncoming(engine, operation.signal, async brought => {
    step.say('preparing build cache for export')
    const stacks = stacksOf(content, cache.mode)
    const layers = await transferLayers({ step, options: cache.options, brought }, stacks)
    const form = cacheForm(content.results, layers)
    const config = documentOf(cacheConfigType, form)
    const root = rootDocument(config.descriptor, usedLayers(form, layers).map(layerDescriptor), cache)
    await engine.content.put(config.bytes)
    brought.push(config.descriptor.digest)
    made.push(...brought)
    step.say('writing layers')
    await bringMissing(step, usedLayers(form, layers), target)
    await target.send(usedLayers(form, layers).map(layerDescriptor))
    step.say(`writing config ${config.descriptor.digest}`)
    await target.send([config.descriptor])
    step.say(
      `writing ${cache.isImageManifest ? 'cache image manifest' : 'manifest'} ${root.descriptor.digest}`,
    )
    await target.finish(root)
    return { 'cache.manifest': JSON.stringify(root.descriptor) }
  })
  await collectQuietly(engine, made)
  return told
}
