import { BerthError } from '../core/errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Quarantined } from './quarantine.ts'
import type { LayerSource } from './types.ts'

export const wrongDiffId = (source: LayerSource, found: Digest): Error =>
  new BerthError(
    'digest-mismatch',
    400,
    `layer ${source.blob} unpacks to ${found}; the image's configuration says ${source.diffId}`,
  )

/** `moved` is the note on it, where it was damaged. */
export const lostBlob = (blob: Digest, moved: Quarantined | undefined): Error =>
  new BerthError(
    'blob-missing',
    500,
    `layer ${blob} cannot be unpacked: its blob is not in the content store${moved ? ` (it was moved to quarantine/${moved.name}, because ${moved.why})` : ''}; pull or load the image again`,
  )
