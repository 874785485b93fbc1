import { badRequest } from '../../core/errors.ts'
import { Filters } from '../../wire/filters.ts'
import type { ImageSummary } from '../../wire/image.ts'
import type { ApiVersion } from '../../wire/version.ts'
import { listContainers } from '../containers/list.ts'
import type { CacheItem, Engine } from '../engine.ts'
import { imageSummary, selectImages } from '../images/list.ts'
import { volumeJson } from '../volumes/document.ts'

import { userCounts } from '../volumes/users.ts'
import { onDisk } from './onDisk.ts'

/** `GET /system/df`, in the form of lists and, from 1.52 on, in that of sums. */

const types = ['container', 'image', 'volume', 'build-cache'] as const
type UsageType = (typeof types)[number]

/** Of one type; `active` and `reclaimable` are of its items, `total` is of all on the disk. */
interface Usage<T> {
  items: T[]
  active: number
  /** Bytes. */
  reclaimable: number
  total: number
}

const sumOf = <T>(items: readonly T[], bytes: (item: T) => number): number =>
  items.reduce((sum, item) => sum + bytes(item), 0)

const imageUsage = async (engine: Engine): Promise<Usage<ImageSummary>> => {
  const rows = selectImages(engine, Filters.parse(undefined, []), false)
  const items = await Promise.all(
    rows.map(image => imageSummary(engine, image, { sharedSize: true, manifests: false })),
  )
  const unused = items.filter(({ Containers }) => Containers === 0)
  return {
    items,
    active: items.length - unused.length,
    reclaimable: sumOf(unused, ({ Size, SharedSize }) => Size - SharedSize),
    total: await layersSize(engine),
  }
}

const isActive = ({ State }: ListedContainer): boolean =>
  State === 'running' || State === 'paused' || State === 'restarting'

interface ListedContainer {
  State: string
  SizeRw?: number
}

const containerUsage = async (engine: Engine, version: ApiVersion): Promise<Usage<ListedContainer>> => {
  const items = (await listContainers(engine, {
    ...{ all: true, limit: -1, size: true, filters: undefined, version },
  })) as ListedContainer[]
  const stopped = items.filter(item => !isActive(item))
  const size = ({ SizeRw = 0 }: ListedContainer): number => SizeRw
  return {
    items,
    active: items.length - stopped.length,
    reclaimable: sumOf(stopped, size),
    total: sumOf(items, size),
  }
}

interface ListedVolume {
  UsageData: { Size: number; RefCount: number }
}

/** Docker leaves out volumes with options: what they hold is mostly elsewhere. */
const volumeUsage = async (engine: Engine): Promise<Usage<ListedVolume>> => {
  const users = userCounts(engine)
  const records = engine.volumes
    .all()
    .filter(({ options, driver }) => driver === undefined && Object.keys(options).length === 0)
  const items = await Promise.all(
    records.map(async record => ({
      ...volumeJson(engine, record),
      UsageData: {
        Size: (await engine.volumeUsage.sizeOf(record)).size,
        RefCount: users.get(record.name) ?? 0,
      },
    })),
  )
  const unused = items.filter(({ UsageData }) => UsageData.RefCount === 0)
  const size = ({ UsageData }: ListedVolume): number => UsageData.Size
  return {
    items,
    active: items.length - unused.length,
    reclaimable: sumOf(unused, size),
    total: sumOf(items, size),
  }
}

/** Every byte of layers: what images take on the disk. */
const layersSize = async (engine: Engine): Promise<number> =>
  sumOf(await engine.layers.list(), ({ size }) => size)

const rfc3339 = (milliseconds: number): string => new Date(milliseconds).toISOString()

/** Engine API `BuildCache`. */
const cacheJson = (item: CacheItem): object => ({
  ID: item.id,
  ...(item.parents.length > 0 ? { Parents: item.parents } : {}),
  Type: item.type,
  Description: item.description,
  InUse: item.inUse,
  Shared: item.shared,
  Size: item.size,
  CreatedAt: rfc3339(item.createdAt),
  LastUsedAt: rfc3339(item.lastUsedAt),
  UsageCount: item.usageCount,
})

const cacheUsage = async (engine: Engine): Promise<Usage<object>> => {
  const items = (await Promise.all(engine.keepers.map(keeper => keeper.items()))).flat()
  const own = items.filter(({ shared }) => !shared)
  return {
    items: items.map(cacheJson),
    active: items.filter(({ inUse }) => inUse).length,
    reclaimable: sumOf(
      own.filter(({ inUse }) => !inUse),
      ({ size }) => size,
    ),
    total: sumOf(own, ({ size }) => size),
  }
}

interface Usages {
  images: Usage<ImageSummary> | undefined
  containers: Usage<ListedContainer> | undefined
  volumes: Usage<ListedVolume> | undefined
  buildCache: Usage<object> | undefined
}

const listed = ({ images, containers, volumes, buildCache }: Usages, version: ApiVersion): object => ({
  ...(images
    ? {
        LayersSize: images.total,
        Images: images.items.map(item =>
          version.atLeast('1.44') ? item : { ...item, VirtualSize: item.Size },
        ),
      }
    : {}),
  ...(containers ? { Containers: containers.items } : {}),
  ...(volumes ? { Volumes: volumes.items } : {}),
  ...(buildCache ? { BuildCache: buildCache.items, BuilderSize: buildCache.total } : {}),
})

/** As Go leaves out what is zero. */
const summed = (usage: Usage<object>, verbose: boolean): object =>
  Object.fromEntries(
    Object.entries({
      ActiveCount: usage.active,
      Items: verbose ? usage.items : [],
      Reclaimable: usage.reclaimable,
      TotalCount: usage.items.length,
      TotalSize: usage.total,
    }).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value !== 0)),
  )

const sums = ({ images, containers, volumes, buildCache }: Usages, verbose: boolean): object => ({
  ...(images ? { ImageUsage: summed(images, verbose) } : {}),
  ...(containers ? { ContainerUsage: summed(containers, verbose) } : {}),
  ...(volumes ? { VolumeUsage: summed(volumes, verbose) } : {}),
  ...(buildCache ? { BuildCacheUsage: summed(buildCache, verbose) } : {}),
})

export interface DiskUsageOptions {
  /** Empty for all. */
  types: string[]
  /** The single objects, too, where the answer is of sums. */
  verbose: boolean
  version: ApiVersion
}

const wantedOf = ({ types: asked, version }: DiskUsageOptions): ReadonlySet<UsageType> => {
  if (!version.atLeast('1.42') || asked.length === 0) return new Set(types)
  const wrong = asked.find(type => !(types as readonly string[]).includes(type))
  if (wrong !== undefined) throw badRequest(`unknown object type: ${wrong}`)
  return new Set(asked as UsageType[])
}

/**
 * Engine API `DiskUsage`. A client that asks 1.52 for `verbose` knows its form;
 * others of 1.52 get both. Errors: `bad-request` for an unknown type.
 */
export const diskUsage = async (engine: Engine, options: DiskUsageOptions): Promise<object> => {
  const { version } = options
  const wanted = wantedOf(options)
  const usages: Usages = {
    images: wanted.has('image') ? await imageUsage(engine) : undefined,
    containers: wanted.has('container') ? await containerUsage(engine, version) : undefined,
    volumes: wanted.has('volume') ? await volumeUsage(engine) : undefined,
    buildCache: wanted.has('build-cache') ? await cacheUsage(engine) : undefined,
  }
  const isNew = version.atLeast('1.52')
  const verbose = isNew && options.verbose
  return {
    ...(verbose ? {} : listed(usages, version)),
    ...(isNew ? sums(usages, verbose) : {}),
    ...(usages.containers && usages.images ? { Berth: await onDisk(engine) } : {}),
  }
}
