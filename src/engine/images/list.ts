import { parseTime, zeroTime } from '../../core/clock.ts'
import type { Digest } from '../../oci/digest.ts'
import { familiar, familiarName, parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { Filters } from '../../wire/filters.ts'
import { parseTimestamp } from '../../wire/timestamps.ts'
import type { Engine } from '../engine.ts'
import { globToRegExp } from './globs.ts'
import type { ImageRecord } from './types.ts'

export const imageFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until']

/** Sum of the layers' sizes, as Docker tells an image's size. */
export const imageSize = async (engine: Engine, image: ImageRecord): Promise<number> => {
  const layers = (await engine.layers.find(image.config.rootfs.diff_ids)) ?? []
  return layers.reduce((sum, layer) => sum + layer.size, 0)
}

export const createdSeconds = (image: ImageRecord): number => {
  const nanos = parseTime(image.config.created ?? zeroTime) ?? 0n
  return nanos < 0n ? 0 : Number(nanos / 1_000_000_000n)
}

/** `busybox`, `busybox:1*`, `example.org/*`: against a name with and without its tag. */
const matchesReference = (names: string[], pattern: string): boolean => {
  const form = globToRegExp(pattern)
  return names.some(name => {
    const reference = withDefaultTag(parseReference(name))
    return form.test(familiar(reference)) || form.test(familiarName(reference))
  })
}

const untilSeconds = (text: string): number => Number(parseTimestamp(text) / 1_000_000_000n)

/** Images that pass the filters, newest first. */
export const selectImages = (engine: Engine, filters: Filters, all: boolean): ImageRecord[] => {
  const dangling = filters.flag('dangling')
  const bound = (key: string): number[] =>
    filters.get(key).map(text => createdSeconds(engine.images.get(text)))
  const before = Math.min(...bound('before'), ...filters.get('until').map(untilSeconds))
  const since = Math.max(...bound('since'), Number.NEGATIVE_INFINITY)
  return engine.images
    .all()
    .filter(image => {
      const { tags, digests } = engine.images.namesOf(image.id)
      const unnamed = tags.length === 0 && digests.length === 0
      if (dangling !== undefined && dangling !== unnamed) return false
      if (unnamed && !all && dangling === undefined && hasChildren(engine, image)) return false
      const created = createdSeconds(image)
      return (
        created < before &&
        created > since &&
        filters.labels('label', image.config.config?.Labels) &&
        filters.get('label!').every(label => !hasLabel(image, label)) &&
        filters.some('reference', pattern => matchesReference([...tags, ...digests], pattern))
      )
    })
    .sort((a, b) => createdSeconds(b) - createdSeconds(a))
}

const hasLabel = (image: ImageRecord, wanted: string): boolean => {
  const [name = '', ...rest] = wanted.split('=')
  const have = image.config.config?.Labels?.[name]
  return have !== undefined && (rest.length === 0 || have === rest.join('='))
}

const hasChildren = (engine: Engine, image: ImageRecord): boolean =>
  engine.images.all().some(other => other.parent === image.id)

export const repoDigests = (engine: Engine, image: ImageRecord): string[] => {
  const names = new Set<string>(engine.images.namesOf(image.id).digests)
  for (const tag of engine.images.tagsOf(image.id))
    names.add(`${familiarName(parseReference(tag.name))}@${tag.target}`)
  return [...names].sort()
}

/** With a filter by reference only the names that it asked for are shown. */
const shownNames = (names: string[], references: readonly string[] = []): string[] =>
  references.length === 0
    ? names
    : names.filter(name => references.some(pattern => matchesReference([name], pattern)))

/** Engine API `ImageSummary`. */
export const imageSummary = async (
  engine: Engine,
  image: ImageRecord,
  options: { sharedSize: boolean; manifests: boolean; references?: readonly string[] },
): Promise<object> => ({
  Id: image.id,
  ParentId: image.parent,
  RepoTags: shownNames(engine.images.namesOf(image.id).tags, options.references),
  RepoDigests: shownNames(repoDigests(engine, image), options.references),
  Created: createdSeconds(image),
  Size: await imageSize(engine, image),
  SharedSize: options.sharedSize ? await sharedSize(engine, image) : -1,
  Labels: image.config.config?.Labels ?? null,
  Containers: engine.containers.all().filter(container => container.record.imageId === image.id).length,
  ...(image.targets[0] ? { Descriptor: image.targets[0].descriptor } : {}),
  ...(options.manifests ? { Manifests: await manifestSummaries(engine, image) } : {}),
})

/** Bytes of layers that another image has too. */
const sharedSize = async (engine: Engine, image: ImageRecord): Promise<number> => {
  const elsewhere = new Set<Digest>(
    engine.images.all().flatMap(other => (other.id === image.id ? [] : other.config.rootfs.diff_ids)),
  )
  const layers = (await engine.layers.find(image.config.rootfs.diff_ids)) ?? []
  return layers.filter(layer => elsewhere.has(layer.diffId)).reduce((sum, layer) => sum + layer.size, 0)
}

/** Engine API `ImageManifestSummary`, for the manifest of this host's platform. */
export const manifestSummaries = async (engine: Engine, image: ImageRecord): Promise<object[]> => {
  const unpacked = await imageSize(engine, image)
  const { os, architecture, variant } = image.config
  return image.targets.map(target => {
    const content = target.blobs.reduce((sum, blob) => sum + blob.size, 0)
    return {
      ID: target.manifest.digest,
      Descriptor: target.manifest,
      Available: true,
      Size: { Content: content, Total: content + unpacked },
      Kind: 'image',
      ImageData: {
        Platform: { architecture, os, ...(variant ? { variant } : {}) },
        Containers: engine.containers
          .all()
          .flatMap(container => (container.record.imageId === image.id ? [container.id] : [])),
        Size: { Unpacked: unpacked },
      },
    }
  })
}
