import type { Digest } from '../../oci/digest.ts'
import type { HistoryEntry, ImageConfig } from '../../oci/image.ts'

/** The configuration of an image whose layers are known. */

export interface ExportedLayer {
  diffId: Digest
  /** RFC 3339: when it was made first. Absent for a base image's, whose history tells. */
  created?: string
  /** For the history where nothing in it tells of this layer. */
  description: string
}

const hasLayer = ({ empty_layer: isEmpty }: HistoryEntry): boolean => !isEmpty

/** Entries that tell of layers that are not there are taken for such as changed nothing. */
const withinLayers = (history: readonly HistoryEntry[], count: number): HistoryEntry[] => {
  let left = count
  return history.map(entry => {
    if (!hasLayer(entry)) return entry
    left -= 1
    return left < 0 ? { ...entry, empty_layer: true } : entry
  })
}

const untold = (history: readonly HistoryEntry[], layers: readonly ExportedLayer[]): HistoryEntry[] =>
  layers.slice(history.filter(hasLayer).length).map(({ created, description }) => ({
    ...(created ? { created } : {}),
    created_by: description,
    comment: 'buildkit.exporter.image.v0',
  }))

const withLayerTimes = (
  history: readonly HistoryEntry[],
  layers: readonly ExportedLayer[],
): HistoryEntry[] => {
  let index = 0
  return history.map(entry => {
    if (!hasLayer(entry)) return entry
    const created = entry.created ?? layers[index]?.created
    index += 1
    return created ? { ...entry, created } : entry
  })
}

/** What changed nothing has the time of the layer before it; in front of the first that is new, that one's. */
const withAllTimes = (history: readonly HistoryEntry[]): HistoryEntry[] => {
  const gap = history.findIndex(({ created }) => created === undefined)
  if (gap === -1) return [...history]
  const next = history.slice(gap).find(({ created }) => created !== undefined)
  const before = history.slice(0, gap).findLast(({ created }) => created !== undefined)
  let current = next?.created ?? before?.created
  return history.map((entry, index) => {
    if (entry.created === undefined) return current ? { ...entry, created: current } : entry
    if (index > gap) current = entry.created
    return entry
  })
}

const sameEntry = (a: HistoryEntry, b: HistoryEntry | undefined): boolean =>
  b !== undefined &&
  (['created', 'created_by', 'author', 'comment', 'empty_layer'] as const).every(
    key => (a[key] ?? '') === (b[key] ?? ''),
  )

const laterThan = (time: string | undefined, epoch: string): boolean =>
  time === undefined || Date.parse(time) > Date.parse(epoch)

/** Nothing is later than the epoch but what the base image has. */
const clamped = (
  history: readonly HistoryEntry[],
  epoch: string,
  base: readonly HistoryEntry[],
): HistoryEntry[] => {
  const own = history.findIndex((entry, index) => !sameEntry(entry, base[index]))
  return history.map((entry, index) =>
    own === -1 || index < own || !laterThan(entry.created, epoch) ? entry : { ...entry, created: epoch },
  )
}

/** Where BuildKit looks for the cache of an image: records in JSON and base64. */
export const inlineCacheField = 'moby.buildkit.cache.v0'

export interface ConfigOptions {
  /** RFC 3339, of `SOURCE_DATE_EPOCH`. */
  epoch?: string | undefined
  base?: ImageConfig | undefined
  /** A cache that the image is to hold. */
  cache?: string | undefined
}

/**
 * The configuration of a plan with its layers and all times, as BuildKit's exporter fills them in: equal for equal
 * layers.
 */
export const exportedConfig = (
  image: ImageConfig,
  layers: readonly ExportedLayer[],
  { epoch, base, cache }: ConfigOptions = {},
): ImageConfig => {
  const told = withinLayers(image.history ?? [], layers.length)
  const timed = withAllTimes(withLayerTimes([...told, ...untold(told, layers)], layers))
  const history = epoch === undefined ? timed : clamped(timed, epoch, base?.history ?? [])
  const last = history.findLast(({ created }) => created !== undefined)?.created
  const own = image.created
  const created = own !== undefined && epoch !== undefined && laterThan(own, epoch) ? epoch : (own ?? last)
  return {
    ...image,
    ...(created ? { created } : {}),
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history,
    ...(cache === undefined ? {} : { [inlineCacheField]: cache }),
  }
}
