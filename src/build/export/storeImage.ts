import { failpoint } from '../../core/failpoint.ts'
import { publishTag, withIncoming } from '../../engine/images/assemble.ts'
import { collectQuietly } from '../../engine/images/collect.ts'
import { hostPlatform, reachManifest } from '../../engine/images/reach.ts'
import type { ImageRecord, ImageTarget } from '../../engine/images/types.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, ImageConfig } from '../../oci/image.ts'
import { platformScore } from '../../oci/platform.ts'
import { canonical, type Reference } from '../../oci/reference.ts'
import {
  checkAnnotations,
  type Document,
  type ImageDocuments,
  imageDocuments,
  indexDocument,
} from './imageDocuments.ts'
import { bringResults, layerBlobs } from './layerBlobs.ts'
import type { ImageOptions } from './options.ts'
import type { BuildOutcome, ExportStep } from './types.ts'

/** Images into the engine's own store as an exporter was told: compressed, annotated, several platforms as one index. */

export interface StoredImage {
  /** The one that names stand for here. */
  record: ImageRecord
  /** What registries know it by. */
  root: Descriptor
  /** Of a single platform. */
  config: Digest | undefined
  names: readonly Reference[]
}

interface Addition {
  image: { id: Digest; config: ImageConfig }
  target: ImageTarget
}

const additionOf = async (
  { engine, operation }: ExportStep,
  { config, manifest, layers, diffIds }: ImageDocuments,
  root: Descriptor,
): Promise<Addition> => {
  const sources = diffIds.map((diffId, index) => ({ blob: layers[index]?.digest ?? diffId, diffId }))
  await engine.layers.ensure(sources, { signal: operation.signal })
  const reached = await reachManifest(engine, root, manifest.descriptor.digest)
  return {
    image: {
      id: config.descriptor.digest,
      config: JSON.parse(config.bytes.toString('utf8')) as ImageConfig,
    },
    target: {
      descriptor: root,
      manifest: reached?.manifest ?? manifest.descriptor,
      blobs: reached?.blobs ?? [],
      layers: sources,
    },
  }
}

const keep = async (
  { engine }: ExportStep,
  documents: readonly Document[],
  brought: Digest[],
): Promise<void> => {
  for (const { bytes, descriptor } of documents) {
    await engine.content.put(bytes)
    brought.push(descriptor.digest)
  }
}

/** This host's first: names stand for it. */
const hostFirst = (additions: readonly Addition[]): Addition[] =>
  additions.toSorted(
    (a, b) => platformScore(b.image.config, hostPlatform) - platformScore(a.image.config, hostPlatform),
  )

const namesOf = ({ names, isByDigest }: ImageOptions, { digest }: Descriptor): readonly Reference[] =>
  isByDigest ? names.map(({ domain, path }) => ({ domain, path, digest })) : names

const name = (step: ExportStep, { id }: ImageRecord, names: readonly Reference[]): void => {
  for (const reference of names) {
    step.say(`naming to ${canonical(reference)}`)
    publishTag(step.engine, id, reference)
  }
}

/** Durable with its names when this settles; where it fails nothing of it stays. The caller holds the trees. */
export const storeImage = async (
  step: ExportStep,
  outcome: BuildOutcome,
  options: ImageOptions,
): Promise<StoredImage> => {
  checkAnnotations(options, outcome)
  const { engine, operation } = step
  const made: Digest[] = []
  using here = await bringResults(step, outcome.platforms)
  const stored = await withIncoming(engine, operation.signal, async brought => {
    step.say('exporting layers')
    const images: ImageDocuments[] = []
    for (const result of here.platforms) {
      const layers = await layerBlobs(
        { step, options, brought, isKept: true, isPushed: options.isPushed },
        result,
      )
      images.push(imageDocuments(result, layers, options))
    }
    await keep(
      step,
      images.flatMap(({ config, manifest }) => [config, manifest]),
      brought,
    )
    const [first] = images
    const index = outcome.isMulti || !first ? indexDocument(images, options) : undefined
    if (index) await keep(step, [index], brought)
    made.push(...brought)
    failpoint('build-export.stored')
    const { platform: _own, ...root } = index?.descriptor ?? (first as ImageDocuments).manifest.descriptor
    step.say(`exporting ${index ? 'manifest list' : 'manifest'} ${root.digest}`)
    const additions: Addition[] = []
    for (const image of images) additions.push(await additionOf(step, image, root))
    const names = namesOf(options, root)
    const record = await engine.images.addAll(hostFirst(additions), names)
    name(step, record, names)
    failpoint('build-export.named')
    return { record, root, names, config: index ? undefined : first?.config.descriptor.digest }
  })
  // Plain archives of what was compressed.
  await collectQuietly(engine, made)
  return stored
}
