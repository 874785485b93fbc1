import type { Engine } from '../../engine/engine.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { ImageOptions } from '../export/options.ts'

/** What layers came to when they were compressed: the same bytes give the same blob, which may be where it is to go. */

type Packing = Pick<ImageOptions, 'compression' | 'level'>

const known = new WeakMap<Engine, Map<string, BlobInfo>>()
const mostKnown = 10_000

const formsOf = (engine: Engine): Map<string, BlobInfo> =>
  known.getOrInsertComputed(engine, () => new Map<string, BlobInfo>())

const keyOf = (diffId: Digest, { compression, level }: Packing): string => `${diffId} ${compression} ${level}`

export const knownForm = (engine: Engine, diffId: Digest, packing: Packing): BlobInfo | undefined =>
  formsOf(engine).get(keyOf(diffId, packing))

export const noteForm = (engine: Engine, diffId: Digest, form: BlobInfo & { packing: Packing }): void => {
  const forms = formsOf(engine)
  forms.set(keyOf(diffId, form.packing), { digest: form.digest, size: form.size })
  const [oldest] = forms.keys()
  if (forms.size > mostKnown && oldest !== undefined) forms.delete(oldest)
}
