import { BerthError, conflict } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { familiar, parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { TagRecord } from './types.ts'

/** What is refused of images, in Docker's words where it has some. */

/** By whatever text it was asked for. */
export const noSuchImage = (text: string): BerthError =>
  new BerthError('no-such-image', 404, `No such image: ${shown(text)}`)

const shown = (text: string): string => {
  if (/^(sha256:)?[a-f0-9]{64}$/.test(text)) return text
  try {
    return familiar(withDefaultTag(parseReference(text)))
  } catch {
    return text
  }
}

export const platformMissing = (text: string, wanted: Platform): BerthError =>
  new BerthError(
    'platform-mismatch',
    404,
    `image with reference ${text} was found but does not provide the specified platform (${formatPlatform(wanted)})`,
  )

const undeletable = (id: Digest, why: string): BerthError =>
  conflict(`conflict: unable to delete ${id.slice(7, 19)} (cannot be forced) - ${why}`)

export const neededByOperation = (id: Digest): BerthError =>
  undeletable(id, 'image is being used by an operation in progress')

export const namedMeanwhile = ({ name, image }: TagRecord): BerthError =>
  undeletable(image, `image was given the name ${familiar(parseReference(name))} meanwhile`)
