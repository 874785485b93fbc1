import { withIncoming } from '../../engine/images/assemble.ts'
import { collectQuietly } from '../../engine/images/collect.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Descriptor, type Manifest, mediaTypes } from '../../oci/image.ts'
import { type Document, documentOf } from '../export/imageDocuments.ts'
import type { ExportStep } from '../export/types.ts'
import { cacheForm } from './form.ts'
import { type CacheContent, type MadeLayer, stacksOf, transferLayers } from './transferLayers.ts'
import { type CacheExport, type CacheForm, type CacheTarget, cacheConfigType } from './types.ts'

/** Writes a cache: its layers, its configuration, and what names both. */

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
): Document => {
  if (isImageManifest) {
    const mediaType = mediaTypes.ociManifest
    const manifest: Manifest = { schemaVersion: 2, mediaType, config, layers: [...layers] }
    return documentOf(mediaType, manifest)
  }
  const mediaType = isOci ? mediaTypes.ociIndex : mediaTypes.dockerList
  return documentOf(mediaType, { schemaVersion: 2, mediaType, manifests: [...layers, config] })
}

/** Layers of images that never came here, and that the target has not either. Held until they are sent. */
const bringMissing = async (
  step: ExportStep,
  layers: readonly MadeLayer[],
  { target, holds }: { target: CacheTarget; holds: DisposableStack },
): Promise<void> => {
  for (const layer of layers) {
    if (layer.isHere || (await target.has(layerDescriptor(layer)))) continue
    holds.use(await step.bring({ layers: layer.stack }))
  }
}

const usedLayers = ({ layers }: CacheForm, made: ReadonlyMap<string, MadeLayer>): MadeLayer[] => {
  const used = new Set(layers.map(({ blob }) => blob))
  return [...new Map([...made.values()].map(layer => [layer.digest, layer])).values()].filter(({ digest }) =>
    used.has(digest),
  )
}

/** A cache whose blobs are in the store. */
interface Written {
  layers: MadeLayer[]
  config: Document
  root: Document
  /** Made for it, and named by nothing. */
  brought: readonly Digest[]
}

/** Sending takes as long as it takes: nothing that is collected has to wait for it. */
const write = async (
  step: ExportStep,
  cache: CacheExport,
  { content, target, holds }: { content: CacheContent; target: CacheTarget; holds: DisposableStack },
): Promise<Written> => {
  const { engine, operation } = step
  return await withIncoming(engine, operation.signal, async brought => {
    const { options, mode } = cache
    const made = await transferLayers({ step, options, target, brought }, stacksOf(content, mode))
    const form = cacheForm(content.results, made)
    const layers = usedLayers(form, made)
    const config = documentOf(cacheConfigType, form)
    await engine.content.put(config.bytes)
    brought.push(config.descriptor.digest)
    for (const digest of [...brought, ...layers.map(layer => layer.digest)])
      holds.use(engine.fetches.hold(digest))
    const root = rootDocument(config.descriptor, layers.map(layerDescriptor), cache)
    return { layers, config, root, brought }
  })
}

/** Gives what the client is told. The caller holds the results. Errors: those of the target, and of who has the layers. */
export const exportCache = async (
  step: ExportStep,
  cache: CacheExport,
  { content, target }: { content: CacheContent; target: CacheTarget },
): Promise<Record<string, string>> => {
  step.say('preparing build cache for export')
  const holds = new DisposableStack()
  const made: Digest[] = []
  try {
    const written = await write(step, cache, { content, target, holds })
    made.push(...written.brought)
    const { layers, config, root } = written
    step.say('writing layers')
    await bringMissing(step, layers, { target, holds })
    await target.send(layers.map(layerDescriptor))
    step.say(`writing config ${config.descriptor.digest}`)
    await target.send([config.descriptor])
    step.say(
      `writing ${cache.isImageManifest ? 'cache image manifest' : 'manifest'} ${root.descriptor.digest}`,
    )
    await target.finish(root)
    return { 'cache.manifest': JSON.stringify(root.descriptor) }
  } finally {
    holds.dispose()
    await collectQuietly(step.engine, made)
  }
}
