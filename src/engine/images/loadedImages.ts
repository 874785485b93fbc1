import { BerthError, badRequest } from '../../core/errors.ts'
import { isDigest } from '../../oci/digest.ts'
import { type Descriptor, type ImageConfig, isIndexType, mediaTypes } from '../../oci/image.ts'
import { formatPlatform, type Platform, platformScore } from '../../oci/platform.ts'
import type { LayerSource } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import { hostPlatform, manifestsBelow, type Reached, reachable, reachTarget, wholeImages } from './reach.ts'

/** What a load makes of a manifest or an index of its archive. */

/** An image of one platform that a load takes in. */
export interface LoadedImage {
  reached: Reached
  config: ImageConfig
  layers: LayerSource[]
}

export interface LoadedImages {
  /** The one that is asked for first: that for this host, else the index's first. */
  images: LoadedImage[]
  /** Those that are unpacked at once; others when they are used. */
  unpacked: LoadedImage[]
}

const configTypes: readonly string[] = [
  mediaTypes.ociConfig,
  mediaTypes.dockerConfig,
  'application/octet-stream',
]

/** Errors: `bad-request` where the configuration's layers are not the manifest's. */
const layersOf = (config: ImageConfig, { layers }: Reached): LayerSource[] => {
  const diffIds = config.rootfs?.diff_ids ?? []
  if (diffIds.length !== layers.length || !diffIds.every(isDigest))
    throw badRequest(
      `invalid manifest, layers length mismatch: expected ${diffIds.length}, got ${layers.length}`,
    )
  return layers.map((layer, index) => ({ blob: layer.digest, diffId: diffIds[index] ?? layer.digest }))
}

const readImage = async (engine: Engine, reached: Reached): Promise<LoadedImage> => {
  const bytes = await engine.content.bytes(reached.config.digest)
  let config: ImageConfig
  try {
    config = JSON.parse(bytes.toString('utf8')) as ImageConfig
  } catch (error) {
    throw badRequest("the archive's image configuration is not valid JSON", error)
  }
  return { reached, config, layers: layersOf(config, reached) }
}

/** Linux images of an index; what else is whole in it stays content of the index. Errors: the first image's, where none is right. */
const imagesOfIndex = async (engine: Engine, target: Descriptor): Promise<LoadedImage[]> => {
  const images: LoadedImage[] = []
  const wrong: BerthError[] = []
  for (const reached of await wholeImages(engine, target)) {
    if (!configTypes.includes(reached.config.mediaType)) continue
    try {
      const image = await readImage(engine, reached)
      if ((image.config.os || 'linux') === 'linux') images.push(image)
    } catch (error) {
      if (!(error instanceof BerthError) || error.status >= 500) throw error
      wrong.push(error)
    }
  }
  const [first] = wrong
  if (images.length === 0 && first) throw first
  return images
}

const notFound = (platforms: readonly Platform[], what: string): BerthError =>
  new BerthError(
    'no-such-platform',
    404,
    `requested platform(s) ([${platforms.map(formatPlatform).join(' ')}]) ${what}`,
  )

/** The best for each platform. Errors: `no-such-platform` in Docker's words. */
const only = async (
  engine: Engine,
  { target, images }: { target: Descriptor; images: readonly LoadedImage[] },
  platforms: readonly Platform[],
): Promise<LoadedImage[]> => {
  const chosen = new Set<LoadedImage>()
  for (const platform of platforms) {
    const [best] = ordered(images, platform).filter(({ config }) => platformScore(config, platform) > 0)
    if (best) chosen.add(best)
    else {
      const listed = (await manifestsBelow(engine, target)).some(
        ({ descriptor }) => descriptor.platform && platformScore(descriptor.platform, platform) > 0,
      )
      throw notFound(platforms, listed ? 'found, but some content is missing' : 'not found')
    }
  }
  return [...chosen]
}

/** Best first; equals as they were. */
const ordered = (images: readonly LoadedImage[], platform: Platform): LoadedImage[] =>
  images.toSorted((a, b) => platformScore(b.config, platform) - platformScore(a.config, platform))

/** What belongs to no platform's image is kept with the first. */
const withRest = async (
  engine: Engine,
  target: Descriptor,
  images: readonly LoadedImage[],
): Promise<LoadedImage[]> => {
  const [first, ...others] = images
  if (!first) return []
  const owned = new Set(images.flatMap(({ reached }) => reached.blobs.map(({ digest }) => digest)))
  const rest = (await reachable(engine, target)).filter(({ digest }) => !owned.has(digest))
  const reached = { ...first.reached, blobs: [...first.reached.blobs, ...rest] }
  return [{ ...first, reached }, ...others]
}

/**
 * The images behind a manifest or an index of the archive; none for what is no image.
 * Errors: `bad-request`, `no-such-platform`.
 */
export const loadedImages = async (
  engine: Engine,
  target: Descriptor,
  platforms: readonly Platform[],
): Promise<LoadedImages> => {
  const isIndex = isIndexType(target.mediaType)
  const single = isIndex ? undefined : await reachTarget(engine, target)
  if (!isIndex && !single) return { images: [], unpacked: [] }
  const all = single ? [await readImage(engine, single)] : await imagesOfIndex(engine, target)
  if (platforms.length > 0) {
    const images = await only(engine, { target, images: ordered(all, hostPlatform) }, platforms)
    return { images, unpacked: images }
  }
  if (all.length === 0) throw badRequest('the archive has no image whole, of whatever platform')
  const images = await withRest(engine, target, ordered(all, hostPlatform))
  return { images, unpacked: images.slice(0, 1) }
}
