import { parseTime, zeroTime } from '../../core/clock.ts'
import { badRequest, messageOf } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { canonical, familiar, familiarName, parseReference, withDefaultTag } from '../../oci/reference.ts'
import type { Layer } from '../../store/types.ts'
import type { Filters } from '../../wire/filters.ts'
import type { ImageSummary } from '../../wire/image.ts'
import { parseTimestamp } from '../../wire/timestamps.ts'
import type { ApiVersion } from '../../wire/version.ts'
import type { Container } from '../containers/container.ts'
import { imagesOf } from '../containers/imageMounts.ts'
import type { Engine } from '../engine.ts'
import { globToRegExp } from './globs.ts'
import { manifestSummaries } from './manifests.ts'
import { targetOf } from './siblings.ts'
import type { ImageRecord, ImageTarget } from './types.ts'

export const imageFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until']

export const createdSeconds = (image: ImageRecord): number => {
  const nanos = parseTime(image.config.created ?? zeroTime) ?? 0n
  return nanos < 0n ? 0 : Number(nanos / 1_000_000_000n)
}

/** `busybox`, `busybox:1*`, `docker.io/library/*`: against a name short and in full, with and without its tag. */
const matchesReference = (names: string[], pattern: string): boolean => {
  const form = globToRegExp(pattern)
  return names.some(name => {
    const reference = withDefaultTag(parseReference(name))
    const { domain, path } = reference
    return [familiar(reference), familiarName(reference), canonical(reference), `${domain}/${path}`].some(
      text => form.test(text),
    )
  })
}

const untilSeconds = (text: string): number => Number(parseTimestamp(text) / 1_000_000_000n)

const inSeconds = (key: string, text: string): number => {
  try {
    return untilSeconds(text)
  } catch (error) {
    throw badRequest(`invalid value for '${key}' filter: ${messageOf(error)}`, error)
  }
}

/** A row for each image with a name, or of unnamed ones: those that pass the filters, newest first. */
export const selectImages = (engine: Engine, filters: Filters, all: boolean): ImageRecord[] => {
  const dangling = filters.flag('dangling')
  const bound = (key: string): number[] =>
    filters.get(key).map(text => createdSeconds(engine.images.get(text)))
  const before = Math.min(...bound('before'), ...filters.get('until').map(text => inSeconds('until', text)))
  const since = Math.max(...bound('since'), Number.NEGATIVE_INFINITY)
  return engine.images
    .rows()
    .filter(image => {
      const { tags, digests } = engine.images.namesOf(image.id)
      const unnamed = tags.length === 0 && digests.length === 0
      // A name by digest alone does not keep an image from being one that is left over.
      if (dangling === true && (tags.length > 0 || hasChildren(engine, image))) return false
      if (dangling === false && unnamed) return false
      if (unnamed && !all && hasChildren(engine, image)) return false
      const created = createdSeconds(image)
      return (
        created < before &&
        created > since &&
        engine.images.membersOf(image).some(member => hasLabels(member, filters)) &&
        filters.some('reference', pattern => matchesReference([...tags, ...digests], pattern))
      )
    })
    .sort((a, b) => createdSeconds(b) - createdSeconds(a))
}

/** `key=value` or `key`; an exclamation mark at the key's end turns it round. */
const matchesLabel = (image: ImageRecord, wanted: string, negated: boolean): boolean => {
  const [name = '', ...rest] = wanted.split('=')
  const isTurned = name.endsWith('!')
  const have = image.config.config?.Labels?.[isTurned ? name.slice(0, -1) : name]
  const has = have !== undefined && (rest.length === 0 || have === rest.join('='))
  return has !== (negated !== isTurned)
}

const hasLabels = (image: ImageRecord, filters: Filters): boolean =>
  filters.get('label').every(label => matchesLabel(image, label, false)) &&
  filters.get('label!').every(label => matchesLabel(image, label, true))

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

export interface SummaryOptions {
  sharedSize: boolean
  manifests: boolean
  identity?: boolean
  references?: readonly string[]
}

/** Layers of a row's images that are unpacked, each once. */
const layersOf = async (engine: Engine, images: readonly ImageRecord[]): Promise<Layer[]> => {
  const stacks = await Promise.all(images.map(({ config }) => engine.layers.find(config.rootfs.diff_ids)))
  return [...new Map(stacks.flatMap(stack => (stack ?? []).map(layer => [layer.key, layer]))).values()]
}

const sizeOf = (layers: readonly Layer[]): number => layers.reduce((sum, layer) => sum + layer.size, 0)

/** Engine API `ImageSummary`: a row of a list, with all platforms of the image. */
export const imageSummary = async (
  engine: Engine,
  image: ImageRecord,
  options: SummaryOptions,
): Promise<ImageSummary> => {
  const members = engine.images.membersOf(image)
  const layers = await layersOf(engine, members)
  const target = shownTarget(engine, image)
  const { manifests, identity = false } = options
  return {
    Id: image.id,
    ParentId: image.parent,
    RepoTags: shownNames(engine.images.namesOf(image.id).tags, options.references),
    RepoDigests: shownNames(repoDigests(engine, image), options.references),
    Created: createdSeconds(image),
    Size: sizeOf(layers),
    SharedSize: options.sharedSize ? sharedSize(engine, members, layers) : -1,
    Labels: image.config.config?.Labels ?? {},
    Containers: usersOf(engine, members).length,
    ...(target ? { Descriptor: target.descriptor } : {}),
    ...(manifests && target
      ? { Manifests: await manifestSummaries(engine, target.descriptor, { identity }) }
      : {}),
  }
}

/** As an API version has it. */
export const versionedSummary = (summary: ImageSummary, version: ApiVersion): ImageSummary => {
  const { Descriptor, ...rest } = summary
  const unnamed = rest.RepoTags.length === 0 && rest.RepoDigests.length === 0
  return {
    ...rest,
    ...(unnamed && !version.atLeast('1.43')
      ? { RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] }
      : {}),
    ...(Descriptor && version.atLeast('1.48') ? { Descriptor } : {}),
    Containers: version.atLeast('1.51') ? rest.Containers : -1,
    ...(version.atLeast('1.44') ? {} : { VirtualSize: rest.Size }),
  }
}

/** The target that an image is named by, as far as it is one. */
export const shownTarget = (engine: Engine, image: ImageRecord): ImageTarget | undefined =>
  targetOf(image, engine.images.tagsOf(image.id)[0]?.target)

/** Containers that were made from one of these images. */
export const usersOf = (engine: Engine, images: readonly ImageRecord[]): Container[] => {
  const ids = new Set(images.map(({ id }) => id))
  return engine.containers.all().filter(({ record }) => imagesOf(record).some(id => ids.has(id)))
}

/** Bytes of layers that an image of another row has too. */
const sharedSize = (engine: Engine, members: readonly ImageRecord[], layers: readonly Layer[]): number => {
  const elsewhere = new Set<Digest>(
    engine.images.all().flatMap(other => (members.includes(other) ? [] : other.config.rootfs.diff_ids)),
  )
  return sizeOf(layers.filter(layer => elsewhere.has(layer.diffId)))
}
