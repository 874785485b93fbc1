import { nowText, zeroTime } from '../../core/clock.ts'
import { BerthError, badRequest, conflict } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { SharedLock } from '../../core/queue.ts'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { parsePlatform, platformScore } from '../../oci/platform.ts'
import { canonical, familiar, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { Database, Put } from '../../store/database.ts'
import type { Layer, LayerStore } from '../../store/types.ts'
import type { ImageRecord, ImageTarget, TagRecord } from './types.ts'

const imageKind = 'image'
const tagKind = 'tag'

/** The images of a data root, by id and by name; reads never leave memory. */
export class Images {
  readonly #database: Database
  readonly #layers: LayerStore
  readonly #byId = new Map<Digest, ImageRecord>()
  readonly #tags = new Map<string, TagRecord>()
  /** Images that an operation under way needs. */
  readonly #leases = new Map<Digest, number>()
  /** Shared by what brings blobs in that no record names yet, owned by what removes unused ones. */
  readonly incoming = new SharedLock()

  private constructor(database: Database, layers: LayerStore) {
    this.#database = database
    this.#layers = layers
  }

  static async open(database: Database, layers: LayerStore): Promise<Images> {
    const images = new Images(database, layers)
    for (const { value } of await database.load(imageKind)) {
      const record = value as ImageRecord
      images.#byId.set(record.id, record)
    }
    for (const { value } of await database.load(tagKind)) {
      const tag = value as TagRecord
      images.#tags.set(tag.name, tag)
    }
    return images
  }

  all(): ImageRecord[] {
    return [...this.#byId.values()]
  }

  byId(id: Digest): ImageRecord | undefined {
    return this.#byId.get(id)
  }

  /** Names of an image, as users know them, sorted: tags, and references by digest. */
  namesOf(id: Digest): { tags: string[]; digests: string[] } {
    const tags: string[] = []
    const digests: string[] = []
    for (const tag of this.#tags.values()) {
      if (tag.image !== id) continue
      const reference = parseReference(tag.name)
      ;(reference.digest ? digests : tags).push(familiar(reference))
    }
    return { tags: tags.sort(), digests: digests.sort() }
  }

  tagsOf(id: Digest): TagRecord[] {
    return [...this.#tags.values()].filter(tag => tag.image === id)
  }

  findTag(reference: Reference): TagRecord | undefined {
    return this.#tags.get(canonical(withDefaultTag(reference)))
  }

  /** By id, name, digest or unique prefix of an id. Errors: `no-such-image`, `bad-request`. */
  get(text: string, platform = ''): ImageRecord {
    const image = this.#find(text)
    if (!image) throw new BerthError('no-such-image', 404, `No such image: ${shown(text)}`)
    if (platform !== '') checkPlatform(image, text, platform)
    return image
  }

  #find(text: string): ImageRecord | undefined {
    const asId = isDigest(text)
      ? text
      : /^[a-f0-9]{64}$/.test(text)
        ? (`sha256:${text}` as Digest)
        : undefined
    if (asId) return this.#byId.get(asId) ?? this.#byTarget(asId)
    const reference = parseReference(text)
    const tag = this.findTag(reference)
    if (tag) return this.#byId.get(tag.image)
    if (reference.digest) return this.#byTarget(reference.digest)
    return this.#byPrefix(text.replace(/^sha256:/, ''))
  }

  #byTarget(digest: Digest): ImageRecord | undefined {
    return this.all().find(image =>
      image.targets.some(target => target.descriptor.digest === digest || target.manifest.digest === digest),
    )
  }

  #byPrefix(prefix: string): ImageRecord | undefined {
    if (!/^[a-f0-9]+$/.test(prefix)) return undefined
    const matches = this.all().filter(image => image.id.startsWith(`sha256:${prefix}`))
    if (matches.length > 1)
      throw badRequest(`ambiguous reference: ${prefix} matches ${matches.length} images`)
    return matches[0]
  }

  /** Keeps an image from being removed while an operation needs it. */
  lease(id: Digest): Disposable & { image: ImageRecord } {
    const image = this.#byId.get(id)
    if (!image) throw new BerthError('no-such-image', 404, `No such image: ${id}`)
    this.#leases.set(id, (this.#leases.get(id) ?? 0) + 1)
    return {
      image,
      [Symbol.dispose]: () => {
        const left = (this.#leases.get(id) ?? 1) - 1
        if (left === 0) this.#leases.delete(id)
        else this.#leases.set(id, left)
      },
    }
  }

  /** The unpacked layers of an image, bottom first; unpacks what is missing. */
  async layersOf(image: ImageRecord, signal?: AbortSignal): Promise<Layer[]> {
    const found = await this.#layers.find(image.config.rootfs.diff_ids)
    if (found) return found
    const [target] = image.targets
    return this.#layers.ensure(target?.layers ?? [], signal ? { signal } : {})
  }

  /** Makes an image known, or adds a target to one that is; durable with its tags when this settles. */
  async add(
    image: Pick<ImageRecord, 'id' | 'config'> & { parent?: string },
    target: ImageTarget,
    names: readonly Reference[],
  ): Promise<ImageRecord> {
    const before = this.#byId.get(image.id)
    const others = before?.targets.filter(entry => entry.descriptor.digest !== target.descriptor.digest) ?? []
    const record: ImageRecord = {
      id: image.id,
      config: image.config,
      targets: [...others, target],
      lastTagged: names.length ? nowText() : (before?.lastTagged ?? zeroTime),
      parent: image.parent ?? before?.parent ?? '',
    }
    const tags = names.map(name => ({
      name: canonical(withDefaultTag(name)),
      image: image.id,
      target: target.descriptor.digest,
    }))
    const puts: Put[] = [{ kind: imageKind, id: image.id, value: record }]
    for (const tag of tags) puts.push({ kind: tagKind, id: tag.name, value: tag })
    await this.#database.write(puts, { durable: true })
    this.#byId.set(image.id, record)
    for (const tag of tags) this.#tags.set(tag.name, tag)
    return record
  }

  /** `docker tag`: durable when this settles. */
  async tag(image: ImageRecord, name: Reference, target?: Digest): Promise<void> {
    if (name.digest) throw badRequest('refusing to create a tag with a digest reference')
    const digest = target ?? image.targets[0]?.descriptor.digest
    if (!digest) throw conflict(`image ${image.id} has no manifest`)
    const tag: TagRecord = { name: canonical(withDefaultTag(name)), image: image.id, target: digest }
    const record = { ...image, lastTagged: nowText() }
    await this.#database.write(
      [
        { kind: tagKind, id: tag.name, value: tag },
        { kind: imageKind, id: image.id, value: record },
      ],
      { durable: true },
    )
    failpoint('image.tagged')
    this.#tags.set(tag.name, tag)
    this.#byId.set(image.id, record)
  }

  /** Forgets names, and with `image` the image itself, in one durable step. */
  async forget(names: readonly string[], image?: ImageRecord): Promise<void> {
    if (image && this.#leases.has(image.id))
      throw conflict(
        `conflict: unable to delete ${image.id.slice(7, 19)} (cannot be forced) - image is being used by an operation in progress`,
      )
    const puts: Put[] = names.map(name => ({ kind: tagKind, id: name, value: undefined }))
    if (image) puts.push({ kind: imageKind, id: image.id, value: undefined })
    await this.#database.write(puts, { durable: true })
    failpoint('image.forgotten')
    for (const name of names) this.#tags.delete(name)
    if (image) this.#byId.delete(image.id)
  }
}

const shown = (text: string): string => {
  if (/^(sha256:)?[a-f0-9]{64}$/.test(text)) return text
  try {
    return familiar(withDefaultTag(parseReference(text)))
  } catch {
    return text
  }
}

const checkPlatform = (image: ImageRecord, text: string, wanted: string): void => {
  const platform = parsePlatform(wanted)
  if (!platform) throw badRequest(`unknown operating system or architecture: "${wanted}"`)
  if (platformScore(image.config, platform) > 0) return
  const { os, architecture, variant } = image.config
  throw new BerthError(
    'platform-mismatch',
    404,
    `image with reference ${text} was found but does not provide the specified platform (${wanted}): it is for ${[os, architecture, variant].filter(Boolean).join('/')}`,
  )
}
