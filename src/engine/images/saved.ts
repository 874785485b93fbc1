import { BerthError, badRequest, prefixed } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { familiar, parseReference, type Reference } from '../../oci/reference.ts'
import type { BlobInfo } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import { bestFor, targetOf } from './siblings.ts'
import type { ImageRecord } from './types.ts'

/** What a save is to write. */

/** One entry of the archive: an index or a manifest. */
export interface Saved {
  descriptor: Descriptor
  /** The image that Docker's manifest.json tells of. */
  image: ImageRecord
  /** All images that are in it. */
  images: ImageRecord[]
  blobs: BlobInfo[]
  /** Names by which it was asked for. */
  names: string[]
}

/** Something that was asked for: a name, or a digest or id without one. */
interface Asked {
  text: string
  image: ImageRecord
  target: Digest | undefined
  name?: string
}

const nameOnly = (text: string): Reference | undefined => {
  try {
    const reference = parseReference(text)
    return reference.tag || reference.digest ? undefined : reference
  } catch {
    return undefined
  }
}

/** A repository without a tag means all its tags, an id or a digest has no name. */
const ask = (engine: Engine, text: string): Asked[] => {
  const repository = nameOnly(text)
  const tags = repository ? engine.images.tagsIn(repository) : []
  if (tags.length > 0)
    return tags.flatMap(({ name, image: id, target }) => {
      const image = engine.images.byId(id)
      const shown = familiar(parseReference(name))
      return image ? [{ text: shown, image, target, name: shown }] : []
    })
  const { image, target } = engine.images.resolve(text)
  const { tags: names } = engine.images.namesOf(image.id)
  const reference = target && !text.includes('@') ? names.find(name => isNamed(text, name)) : undefined
  return [{ text, image, target, ...(reference ? { name: reference } : {}) }]
}

const isNamed = (text: string, name: string): boolean => {
  try {
    return familiar(parseReference(text)) === name
  } catch {
    return false
  }
}

const missing = (error: unknown): unknown =>
  error instanceof BerthError && error.code === 'platform-mismatch'
    ? prefixed('no suitable export target found', error)
    : error

/** Of one platform its manifest is saved, else the target with what is wanted of it. */
const choose = (engine: Engine, asked: Asked, platforms: readonly Platform[]): Saved => {
  const { image, text } = asked
  const target = targetOf(image, asked.target)
  if (!target) throw badRequest(`image ${text} has no manifest`)
  const { digest } = target.descriptor
  const names = asked.name ? [asked.name] : []
  const all = [image, ...engine.images.sharing(digest).filter(({ id }) => id !== image.id)]
  if (platforms.length === 0) return saved(target.descriptor, { image, images: all, names })
  const wanted = platforms.map(platform => {
    const best = bestFor(all, platform)
    if (best) return best
    try {
      return engine.images.get(text, platform)
    } catch (error) {
      throw missing(error)
    }
  })
  const images = [...new Set(wanted)]
  const [first = image] = images
  if (platforms.length > 1)
    return saved(target.descriptor, { image: images.includes(image) ? image : first, images, names })
  const own = targetOf(first, digest)
  if (!own) throw badRequest(`image ${text} has no manifest`)
  const kept = new Set([own.manifest.digest, first.id, ...own.layers.map(({ blob }) => blob)])
  const whole = saved(own.descriptor, { image: first, images, names })
  return { ...whole, descriptor: own.manifest, blobs: whole.blobs.filter(blob => kept.has(blob.digest)) }
}

const saved = (descriptor: Descriptor, rest: Omit<Saved, 'descriptor' | 'blobs'>): Saved => {
  const blobs = new Map<Digest, BlobInfo>()
  for (const image of rest.images)
    for (const blob of targetOf(image, descriptor.digest)?.blobs ?? []) blobs.set(blob.digest, blob)
  return { descriptor, ...rest, blobs: [...blobs.values()] }
}

/** One entry for what was asked for by several names. */
const merge = (entries: readonly Saved[]): Saved[] => {
  const byDigest = new Map<Digest, Saved>()
  for (const entry of entries) {
    const known = byDigest.get(entry.descriptor.digest)
    if (known) known.names.push(...entry.names.filter(name => !known.names.includes(name)))
    else byDigest.set(entry.descriptor.digest, entry)
  }
  return [...byDigest.values()]
}

/** Errors: `no-such-image`, `platform-mismatch` in Docker's words. */
export const chooseSaved = (
  engine: Engine,
  references: readonly string[],
  platforms: readonly Platform[],
): Saved[] =>
  merge(references.flatMap(text => ask(engine, text)).map(asked => choose(engine, asked, platforms)))
