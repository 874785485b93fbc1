import type { Digest } from '../../oci/digest.ts'
import { type Platform, platformScore } from '../../oci/platform.ts'
import { hostPlatform } from './reach.ts'
import type { ImageRecord, ImageTarget } from './types.ts'

/** Images of several platforms that share a target: which of them is meant. */

/** The one that runs best on a platform; the first of equals; undefined where none runs. */
export const bestFor = (images: readonly ImageRecord[], platform: Platform): ImageRecord | undefined => {
  let best: ImageRecord | undefined
  let most = 0
  for (const image of images) {
    const score = platformScore(image.config, platform)
    if (score <= most) continue
    best = image
    most = score
  }
  return best
}

/** The one that a name stands for: this host's, else the first. */
export const leadOf = (images: readonly ImageRecord[]): ImageRecord | undefined =>
  bestFor(images, hostPlatform) ?? images[0]

export const targetOf = (image: ImageRecord, digest: Digest | undefined): ImageTarget | undefined =>
  image.targets.find(target => target.descriptor.digest === digest) ?? image.targets[0]
