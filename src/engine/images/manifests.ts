import type { Descriptor } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Identity, ImageManifestSummary } from '../../wire/image.ts'
import type { Engine } from '../engine.ts'
import { blobsOf, isImage, isWhole, type Listed, manifestsBelow } from './reach.ts'
import type { ImageRecord } from './types.ts'

/** What is known of where an image comes from; undefined where nothing is. */
export const identityOf = (engine: Engine, target: Descriptor): Identity | undefined => {
  const sources = engine.images
    .sharing(target.digest)
    .flatMap(({ targets }) => targets)
    .flatMap(({ descriptor, sources = [] }) => (descriptor.digest === target.digest ? sources : []))
  const repositories = [...new Set(sources)].sort()
  return repositories.length > 0 ? { Pull: repositories.map(Repository => ({ Repository })) } : undefined
}

/** Sum of the layers' sizes, as Docker tells an image's size; none where they are not unpacked. */
export const imageSize = async (engine: Engine, { config }: ImageRecord): Promise<number> => {
  const layers = (await engine.layers.find(config.rootfs.diff_ids)) ?? []
  return layers.reduce((sum, layer) => sum + layer.size, 0)
}

const platformOf = ({ descriptor }: Listed, image: ImageRecord | undefined): Platform => {
  if (descriptor.platform) return descriptor.platform
  const { os = '', architecture = '', variant } = image?.config ?? {}
  return { architecture, os, ...(variant ? { variant } : {}) }
}

const summaryOf = async (
  engine: Engine,
  entry: Listed,
  identity: Identity | undefined,
): Promise<ImageManifestSummary> => {
  const { descriptor, manifest, attests } = entry
  const Available = await isWhole(engine, entry)
  const Content = (await blobsOf(engine, entry)).reduce((sum, blob) => sum + blob.size, 0)
  const base = { ID: descriptor.digest, Descriptor: descriptor, Available, Size: { Content, Total: Content } }
  if (attests) return { ...base, Kind: 'attestation', AttestationData: { For: attests } }
  // What is not here is an image where the index names its platform.
  if (manifest ? !isImage(entry) : !descriptor.platform || descriptor.platform.os === 'unknown')
    return { ...base, Kind: 'unknown' }
  const image = manifest && engine.images.byId(manifest.config.digest)
  const Unpacked = image ? await imageSize(engine, image) : 0
  const containers = image
    ? engine.containers.all().filter(container => container.record.imageId === image.id)
    : []
  return {
    ...base,
    Size: { Content, Total: Content + Unpacked },
    Kind: 'image',
    ImageData: {
      Platform: platformOf(entry, image),
      ...(identity && Available ? { Identity: identity } : {}),
      Containers: containers.map(({ id }) => id),
      Size: { Unpacked },
    },
  }
}

/** Engine API `ImageManifestSummary` of every manifest behind a target, here or not. */
export const manifestSummaries = async (
  engine: Engine,
  target: Descriptor,
  options: { identity: boolean },
): Promise<ImageManifestSummary[]> => {
  const identity = options.identity ? identityOf(engine, target) : undefined
  const listed = await manifestsBelow(engine, target)
  return await Promise.all(listed.map(entry => summaryOf(engine, entry, identity)))
}
