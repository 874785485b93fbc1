import { nowText, zeroTime } from '../../core/clock.ts'
import { badRequest, conflict } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { SerialQueue, SharedLock } from '../../core/queue.ts'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { type Platform, parsePlatform } from '../../oci/platform.ts'
import { canonical, familiar, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { Database, Put } from '../../store/database.ts'
import type { Layer, LayerStore } from '../../store/types.ts'
import { namedMeanwhile, noSuchImage, platformMissing } from './imageErrors.ts'
import { Leases } from './leases.ts'
import { bestFor, leadOf } from './siblings.ts'
import type { ImageRecord, ImageTarget, TagRecord } from './types.ts'

/** An image to make known, or a further target of one that is. */
export interface Addition {
  image: Pick<ImageRecord, 'id' | 'config'> & { parent?: string }
  target: ImageTarget
}

/** What a text means: an image, and the target that it was named by. */
export interface Resolved {
  image: ImageRecord
  /** Undefined where it was named by its id. */
  target?: Digest
}

/** What is to be forgotten in one step. */
export interface Forgotten {
  names?: readonly string[]
  images?: readonly ImageRecord[]
}

const imageKind = 'image'
const tagKind = 'tag'

/** The images of a data root, by id and by name; reads never leave memory. */
export class Images {
  readonly #database: Database
  readonly #layers: LayerStore
  readonly #byId = new Map<Digest, ImageRecord>()
  /** Ids by the digests of their targets. */
  readonly #byTarget = new Map<Digest, Set<Digest>>()
  readonly #tags = new Map<string, TagRecord>()
  readonly #leases = new Leases()
  /** What a change makes of records and names depends on those that are there: changes go in turn. */
  readonly #changes = new SerialQueue()
  /** Shared by what brings blobs in that no record names yet, owned by what removes unused ones. */
  readonly incoming = new SharedLock()

  private constructor(database: Database, layers: LayerStore) {
    this.#database = database
    this.#layers = layers
  }

  static async open(database: Database, layers: LayerStore): Promise<Images> {
    const images = new Images(database, layers)
    for (const { value } of await database.load(imageKind)) {
      images.#keep(value as ImageRecord)
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

  #keep(record: ImageRecord): void {
    this.#unindex(record.id)
    this.#byId.set(record.id, record)
    for (const { descriptor } of record.targets) {
      const ids = this.#byTarget.get(descriptor.digest)
      if (ids) ids.add(record.id)
      else this.#byTarget.set(descriptor.digest, new Set([record.id]))
    }
  }

  #unindex(id: Digest): void {
    for (const { descriptor } of this.#byId.get(id)?.targets ?? []) {
      const ids = this.#byTarget.get(descriptor.digest)
      ids?.delete(id)
      if (ids?.size === 0) this.#byTarget.delete(descriptor.digest)
    }
  }

  #drop(id: Digest): void {
    this.#unindex(id)
    this.#byId.delete(id)
  }

  /** The images that share a target. */
  sharing(target: Digest): ImageRecord[] {
    return [...(this.#byTarget.get(target) ?? [])].flatMap(id => this.#byId.get(id) ?? [])
  }

  /** Other images that share a target with this one. */
  siblingsOf(image: ImageRecord): ImageRecord[] {
    const shared = image.targets.flatMap(({ descriptor }) => this.sharing(descriptor.digest))
    return [...new Set(shared)].filter(({ id }) => id !== image.id)
  }

  /** An image and its siblings that have no name of their own: what a row of a list stands for. */
  membersOf(image: ImageRecord): ImageRecord[] {
    const siblings = this.siblingsOf(image)
    return [image, ...siblings.filter(({ id }) => this.tagsOf(id).length === 0)]
  }

  /** The images that a list shows: those with a name, and of unnamed siblings one. */
  rows(): ImageRecord[] {
    const tags = [...this.#tags.values()]
    const named = new Set(tags.map(tag => tag.image))
    const namedTargets = new Set(tags.map(tag => tag.target))
    return this.all().filter(image => {
      if (named.has(image.id)) return true
      if (image.targets.some(({ descriptor }) => namedTargets.has(descriptor.digest))) return false
      const siblings = this.siblingsOf(image)
      const inOrder = [image, ...siblings].sort((a, b) => (a.id < b.id ? -1 : 1))
      return siblings.every(({ id }) => !named.has(id)) && leadOf(inOrder) === image
    })
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

  /** Tags of a repository, sorted by name; references by digest are none. */
  tagsIn({ domain, path }: Reference): TagRecord[] {
    const start = `${domain}/${path}:`
    return [...this.#tags.values()]
      .filter(({ name }) => name.startsWith(start) && !name.includes('@'))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  findTag(reference: Reference): TagRecord | undefined {
    return this.#tags.get(canonical(withDefaultTag(reference)))
  }

  /** By id, name, digest or unique prefix of an id; of siblings that for the platform. Errors: `no-such-image`, `platform-mismatch`, `bad-request`. */
  get(text: string, platform: string | Platform = ''): ImageRecord {
    return this.resolve(text, platform).image
  }

  /** As `get`, with the target that the text names. */
  resolve(text: string, platform: string | Platform = ''): Resolved {
    const found = this.#find(text)
    if (!found) throw noSuchImage(text)
    const wanted = typeof platform === 'string' ? platformOf(platform) : platform
    if (!wanted) return found
    const siblings = found.target ? this.sharing(found.target) : this.siblingsOf(found.image)
    const image = bestFor([found.image, ...siblings], wanted)
    if (!image) throw platformMissing(text, wanted)
    return { ...found, image }
  }

  /** True where a name stands for an image or for a sibling of it. */
  means(text: string, id: Digest): boolean {
    const found = this.#find(text)
    if (!found) return false
    return found.image.id === id || this.siblingsOf(found.image).some(sibling => sibling.id === id)
  }

  #find(text: string): Resolved | undefined {
    const asId = isDigest(text)
      ? text
      : /^[a-f0-9]{64}$/.test(text)
        ? (`sha256:${text}` as Digest)
        : undefined
    if (asId) {
      const image = this.#byId.get(asId)
      return image ? { image } : this.#withTarget(asId)
    }
    const reference = parseReference(text)
    const tag = this.findTag(reference)
    const image = tag && this.#byId.get(tag.image)
    if (tag && image) return { image, target: tag.target }
    if (reference.digest) return this.#inRepository(reference, this.#withTarget(reference.digest))
    return this.#byPrefix(text.replace(/^sha256:/, ''))
  }

  /** By the digest of an index, or of a manifest within one. */
  #withTarget(digest: Digest): Resolved | undefined {
    const lead = leadOf(this.sharing(digest))
    if (lead) return { image: lead, target: digest }
    for (const image of this.all()) {
      const target = image.targets.find(({ manifest }) => manifest.digest === digest)
      if (target) return { image, target: target.descriptor.digest }
    }
    return undefined
  }

  /** A digest with a name means no image of another repository. */
  #inRepository({ domain, path }: Reference, found: Resolved | undefined): Resolved | undefined {
    const start = `${domain}/${path}`
    const targets = found?.image.targets.map(({ descriptor }) => descriptor.digest)
    const isNamed = [...this.#tags.values()].some(
      ({ name, target }) =>
        targets?.includes(target) && (name.startsWith(`${start}:`) || name.startsWith(`${start}@`)),
    )
    return isNamed ? found : undefined
  }

  #byPrefix(prefix: string): Resolved | undefined {
    if (!/^[a-f0-9]+$/.test(prefix)) return undefined
    const matches = this.all().filter(image => image.id.startsWith(`sha256:${prefix}`))
    if (matches.length > 1)
      throw badRequest(`ambiguous reference: ${prefix} matches ${matches.length} images`)
    const [image] = matches
    return image && { image }
  }

  /** Keeps an image from being removed while an operation needs it. Errors: `no-such-image`. */
  lease(id: Digest): Disposable & { image: ImageRecord } {
    const image = this.#byId.get(id)
    if (!image) throw noSuchImage(id)
    return { image, ...this.#leases.take(id) }
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
    image: Addition['image'],
    target: ImageTarget,
    names: readonly Reference[],
  ): Promise<ImageRecord> {
    return await this.addAll([{ image, target }], names)
  }

  /** Makes images known that share a target, the one that was asked for first; gives that one. */
  addAll(additions: readonly Addition[], names: readonly Reference[]): Promise<ImageRecord> {
    return this.#changes.run(() => this.#addInTurn(additions, names))
  }

  async #addInTurn(additions: readonly Addition[], names: readonly Reference[]): Promise<ImageRecord> {
    const records = additions.map(addition => this.#added(addition, names.length > 0))
    const [first] = records
    const digest = additions[0]?.target.descriptor.digest
    if (!first || !digest) throw conflict('an image without content')
    const tags = this.#tagsFor(digest, { records, names })
    await this.#database.write([...records.map(putImage), ...tags.map(putTag)], { durable: true })
    for (const record of records) this.#keep(record)
    for (const tag of tags) this.#tags.set(tag.name, tag)
    return first
  }

  #added({ image, target }: Addition, isNamed: boolean): ImageRecord {
    const before = this.#byId.get(image.id)
    const { digest } = target.descriptor
    const others = before?.targets.filter(({ descriptor }) => descriptor.digest !== digest) ?? []
    const known = before?.targets.find(({ descriptor }) => descriptor.digest === digest)?.sources ?? []
    const sources = [...new Set([...known, ...(target.sources ?? [])])].sort()
    return {
      id: image.id,
      config: image.config,
      targets: [...others, { ...target, ...(sources.length > 0 ? { sources } : {}) }],
      lastTagged: isNamed ? nowText() : (before?.lastTagged ?? zeroTime),
      parent: image.parent ?? before?.parent ?? '',
    }
  }

  /** New names of a target, and those it has: all for the same of its images. */
  #tagsFor(
    target: Digest,
    { records, names }: { records: readonly ImageRecord[]; names: readonly Reference[] },
  ): TagRecord[] {
    const fresh = new Set(records.map(({ id }) => id))
    const others = this.sharing(target).filter(({ id }) => !fresh.has(id))
    const image = leadOf([...records, ...others])?.id
    if (!image) return []
    const known = [...this.#tags.values()].flatMap(tag => (tag.target === target ? [tag.name] : []))
    const all = new Set([...known, ...names.map(name => canonical(withDefaultTag(name)))])
    return [...all].map(name => ({ name, image, target }))
  }

  /** `docker tag`: durable when this settles. Errors: `bad-request`, `no-such-image`. */
  async tag(found: Resolved, name: Reference): Promise<void> {
    if (name.digest) throw badRequest('refusing to create a tag with a digest reference')
    await this.#changes.run(() => this.#tagInTurn(found, name))
  }

  async #tagInTurn({ image: { id }, target }: Resolved, name: Reference): Promise<void> {
    // It may have been forgotten, or have got another target, since it was found.
    const image = this.#byId.get(id)
    if (!image) throw noSuchImage(id)
    const own = target ?? image.targets[0]?.descriptor.digest
    if (!own) throw conflict(`image ${image.id} has no manifest`)
    // A name of the index would mean the sibling that leads: one by its id is named by its manifest.
    const digest =
      leadOf(this.sharing(own))?.id === image.id ? own : (image.targets[0]?.manifest.digest ?? own)
    const tag: TagRecord = { name: canonical(withDefaultTag(name)), image: image.id, target: digest }
    const record = { ...withManifest(image, digest), lastTagged: nowText() }
    await this.#database.write([putTag(tag), putImage(record)], { durable: true })
    failpoint('image.tagged')
    this.#tags.set(tag.name, tag)
    this.#keep(record)
  }

  /**
   * Forgets names and images in one durable step. Names of a forgotten image go on with a sibling of it, or go too.
   * Errors: `conflict` where somebody needs an image, or gives it a name meanwhile.
   */
  async forget(what: Forgotten): Promise<void> {
    const ids = what.images?.map(({ id }) => id) ?? []
    // At once: who has just seen that nobody uses an image may count on it.
    using _going = this.#leases.retire(ids)
    const known = new Set(ids.flatMap(id => this.tagsOf(id)).map(({ name }) => name))
    await this.#changes.run(() => this.#forgetInTurn(what, known))
  }

  async #forgetInTurn({ names = [], images = [] }: Forgotten, known: ReadonlySet<string>): Promise<void> {
    const gone = new Set(images.map(({ id }) => id))
    const tags = images.flatMap(({ id }) => this.tagsOf(id)).filter(({ name }) => !names.includes(name))
    const added = tags.find(({ name }) => !known.has(name))
    if (added) throw namedMeanwhile(added)
    const moved: TagRecord[] = []
    const lost = [...names]
    for (const tag of tags) {
      const next = leadOf(this.sharing(tag.target).filter(({ id }) => !gone.has(id)))
      if (next) moved.push({ ...tag, image: next.id })
      else lost.push(tag.name)
    }
    const puts: Put[] = [
      ...lost.map(name => ({ kind: tagKind, id: name, value: undefined })),
      ...moved.map(putTag),
      ...images.map(({ id }) => ({ kind: imageKind, id, value: undefined })),
    ]
    await this.#database.write(puts, { durable: true })
    failpoint('image.forgotten')
    for (const name of lost) this.#tags.delete(name)
    for (const tag of moved) this.#tags.set(tag.name, tag)
    for (const { id } of images) this.#drop(id)
  }
}

const putImage = (record: ImageRecord): Put => ({ kind: imageKind, id: record.id, value: record })

const putTag = (tag: TagRecord): Put => ({ kind: tagKind, id: tag.name, value: tag })

/** With its manifest as a target of its own, where it came by an index only. */
const withManifest = (image: ImageRecord, digest: Digest): ImageRecord => {
  const [first] = image.targets
  if (!first || image.targets.some(({ descriptor }) => descriptor.digest === digest)) return image
  const { manifest, layers } = first
  const blobs = first.blobs.filter(blob => blob.digest !== first.descriptor.digest)
  return { ...image, targets: [...image.targets, { descriptor: manifest, manifest, blobs, layers }] }
}

const platformOf = (text: string): Platform | undefined => {
  if (text === '') return undefined
  const platform = parsePlatform(text)
  if (!platform) throw badRequest(`unknown operating system or architecture: "${text}"`)
  return platform
}
