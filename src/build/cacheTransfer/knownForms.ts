import { RecentlyUsed } from '../../core/recentlyUsed.ts'
import type { Engine } from '../../engine/engine.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { ImageOptions } from '../export/options.ts'

/** What layers came to when they were compressed: the same bytes give the same blob, which may be where it is to go. */

type Packing = Pick<ImageOptions, 'compression' | 'level'>

const known = new WeakMap<Engine, RecentlyUsed<BlobInfo>>()
const mostKnown = 10_000

const formsOf = (engine: Engine): RecentlyUsed<BlobInfo> =>
  known.getOrInsertComputed(engine, () => new RecentlyUsed<BlobInfo>(mostKnown))

const keyOf = (diffId: Digest, { compression, level }: Packing): string => `${diffId} ${compression} ${level}`

export const knownForm = (engine: Engine, diffId: Digest, packing: Packing): BlobInfo | undefined =>
  formsOf(engine).get(keyOf(diffId, packing))

export const noteForm = (
  engine: Engine,
  diffId: Digest,
  { digest, size, packing }: BlobInfo & { packing: Packing },
): void => formsOf(engine).set(keyOf(diffId, packing), { digest, size })
