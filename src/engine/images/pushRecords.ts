import type { Digest } from '../../oci/digest.ts'
import type { Manifest } from '../../oci/image.ts'
import { canonical, parseReference, type Reference } from '../../oci/reference.ts'
import type { Engine } from '../engine.ts'
import { parseDocument } from './pullPlan.ts'
import type { ImageTarget, TagRecord } from './types.ts'

/**
 * What is known of registries: a name by digest tells that the repository has
 * what it names. A pull makes one, and so does a push.
 */

/** Finds for a blob another repository at the same registry from which it may be mounted; empty where none is known. */
export type MountSources = (digest: Digest) => string

/** `root` is what is pushed: where another repository has it, that has also what of it is not here. */
export const mountSources = (engine: Engine, { domain, path }: Reference, root: Digest): MountSources => {
  const byBlob = new Map<Digest, string>()
  let ofRoot = ''
  for (const { name, target } of engine.images.all().flatMap(({ id }) => engine.images.tagsOf(id))) {
    if (!name.startsWith(`${domain}/`) || !name.includes('@')) continue
    const known = parseReference(name)
    if (known.path === path) continue
    if (target === root) ofRoot ||= known.path
    for (const digest of blobsOf(engine, target)) if (!byBlob.has(digest)) byBlob.set(digest, known.path)
  }
  return digest => byBlob.get(digest) ?? ofRoot
}

/** Of all platforms. */
const blobsOf = (engine: Engine, target: Digest): Digest[] =>
  engine.images
    .sharing(target)
    .flatMap(({ targets }) => targets.filter(({ descriptor }) => descriptor.digest === target))
    .flatMap(({ blobs }) => blobs.map(({ digest }) => digest))

/** What was pushed, and the tag that stands for it there; absent where it is not all that the tag stands for here. */
export interface Pushed {
  target: ImageTarget
  tag: TagRecord | undefined
}

/** The image gets its name by digest in the repository, as if it had been pulled from there, and the tag stands for it. */
export const recordPushed = async (
  engine: Engine,
  { domain, path }: Reference,
  { target, tag }: Pushed,
): Promise<void> => {
  const { digest } = target.descriptor
  const name: Reference = { domain, path, digest }
  const bytes = await engine.content.bytes(target.manifest.digest)
  const { config } = parseDocument<Manifest>(bytes, `manifest ${target.manifest.digest}`)
  // Of an index, the image of another platform may be no image here.
  if (!engine.images.byId(config.digest)) return
  using lease = engine.images.lease(config.digest)
  const { image } = lease
  const isCurrent = ({ image: id, target }: TagRecord): boolean => id === image.id && target === digest
  const known = engine.images.findTag(name)
  const names = known && isCurrent(known) ? [] : [name]
  // Somebody may have given the tag to another image meanwhile.
  const found = tag && engine.images.findTag(parseReference(tag.name))
  if (found && !isCurrent(found) && found.image === image.id && found.target === tag.target)
    names.push(parseReference(found.name))
  if (names.length === 0) return
  const sources = [canonical({ domain, path })]
  await engine.images.add({ id: image.id, config: image.config }, { ...target, sources }, names)
}
