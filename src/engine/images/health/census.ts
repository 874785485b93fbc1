import type { Digest } from '../../../oci/digest.ts'
import { familiar, parseReference } from '../../../oci/reference.ts'
import type { LayerPlace } from '../../../store/types.ts'
import { imagesOf, stacksOf } from '../../containers/imageMounts.ts'
import type { Engine } from '../../engine.ts'
import type { ImageRecord, TagRecord } from '../types.ts'

/** Who needs which blob, and what each unpacked layer is made of: as the records tell now. */

export interface BlobNeed {
  digest: Digest
  /** Undefined where no record tells. */
  size: number | undefined
  images: ImageRecord[]
  /** An index or manifest, which registries give by another door. */
  isDocument: boolean
}

export const blobNeeds = (engine: Engine): Map<Digest, BlobNeed> => {
  const needs = new Map<Digest, BlobNeed>()
  const note = (image: ImageRecord, digest: Digest, size?: number): BlobNeed => {
    const need = needs.get(digest) ?? { digest, size: undefined, images: [], isDocument: false }
    if (!need.images.includes(image)) need.images.push(image)
    need.size ??= size
    needs.set(digest, need)
    return need
  }
  for (const image of engine.images.all())
    for (const target of image.targets) {
      for (const { digest, size } of target.blobs) note(image, digest, size)
      for (const { blob } of target.layers) note(image, blob)
      for (const { digest } of [target.descriptor, target.manifest]) note(image, digest).isDocument = true
    }
  return needs
}

/** A layer at its place in an image's stack, and every blob that it could be made of. */
export interface KnownLayer extends LayerPlace {
  images: ImageRecord[]
}

/** Unpacked layers of images by key, those below before those above, with a choice of places where blobs differ. */
export const knownLayers = (engine: Engine): Map<Digest, KnownLayer[]> => {
  const known = new Map<Digest, KnownLayer[]>()
  for (const image of engine.images.all())
    for (const { layers: sources } of image.targets) {
      const stack = engine.layers.present(sources.map(({ diffId }) => diffId))
      for (const [index, layer] of stack.entries()) {
        const source = sources[index]
        const below = stack.slice(0, index).filter(entry => entry !== undefined)
        // One that leans on those below cannot be told from them where one is missing.
        if (!source || !layer || (below.length < index && layer.key !== layer.diffId)) continue
        const places = known.get(layer.key) ?? []
        const same = places.find(place => place.source.blob === source.blob)
        if (!same) places.push({ layer, source, below, images: [image] })
        else if (!same.images.includes(image)) same.images.push(image)
        known.set(layer.key, places)
      }
    }
  return known
}

/** Names of the containers that were made from images, or mount them. */
export const containersOf = (engine: Engine, images: readonly ImageRecord[]): string[] =>
  engine.containers
    .all()
    .flatMap(({ record }) => (images.some(({ id }) => imagesOf(record).includes(id)) ? [record.name] : []))

/** Names of the containers that have a layer in their stack. */
export const containersWith = (engine: Engine, key: Digest): string[] =>
  engine.containers
    .all()
    .flatMap(({ record }) =>
      stacksOf(record).some(stack => engine.layers.present(stack).some(layer => layer?.key === key))
        ? [record.name]
        : [],
    )

/** Names of images, and names of the indexes that they came with: another platform's image may have these. */
const tagsFor = (engine: Engine, images: readonly ImageRecord[]): TagRecord[] => {
  const ids = new Set<Digest>(images.map(({ id }) => id))
  const targets = new Set<Digest>(
    images.flatMap(image => image.targets.map(({ descriptor }) => descriptor.digest)),
  )
  return engine.images
    .all()
    .flatMap(({ id }) => engine.images.tagsOf(id))
    .filter(({ image, target }) => ids.has(image) || targets.has(target))
}

/** As users know them: tags, or else names by digest; an image without either by its id. */
export const namesOf = (engine: Engine, images: readonly ImageRecord[]): string[] => [
  ...new Set(images.flatMap(image => shownNames(tagsFor(engine, [image]), image.id))),
]

const shownNames = (tags: readonly TagRecord[], id: Digest): string[] => {
  const references = tags.map(({ name }) => parseReference(name))
  const byTag = references.filter(({ digest }) => digest === undefined)
  const names = (byTag.length > 0 ? byTag : references).map(familiar).sort()
  return names.length > 0 ? names : [id]
}

/** Where images may be had again: from where they came or went to, else by their names; each repository once. */
export const repositoriesOf = (
  engine: Engine,
  images: readonly ImageRecord[],
): { domain: string; path: string; shown: string }[] => {
  const sources = images.flatMap(({ targets }) => targets.flatMap(target => target.sources ?? []))
  const names = tagsFor(engine, images).map(({ name }) => name)
  const found = new Map<string, { domain: string; path: string; shown: string }>()
  for (const text of [...sources, ...names]) {
    const { domain, path } = parseReference(text)
    const shown = familiar({ domain, path })
    found.set(shown, { domain, path, shown })
  }
  return [...found.values()]
}
