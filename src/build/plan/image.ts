import type { ImageConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { canonical, type Reference } from '../../oci/reference.ts'
import { platformText } from './platform.ts'
import type { Planning } from './stage.ts'

/** The configuration of an image, asked for once in a plan, and the reference with its digest. */
export const askImage = async (
  { images, outside, request }: Planning,
  { reference, platform, step }: { reference: Reference; platform: Platform; step: string },
): Promise<{ config: ImageConfig; exact: string }> => {
  const name = canonical(reference)
  const key = `${name} ${platformText(platform)}`
  const asked =
    images.get(key) ?? outside.image({ reference: name, platform, resolve: request.resolve, step })
  images.set(key, asked)
  const { config, digest } = await asked
  return { config, exact: digest ? canonical({ ...reference, digest }) : name }
}
