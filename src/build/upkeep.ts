import { statfsSync } from 'node:fs'
import { hasCode } from '../core/errors.ts'
import type { CacheItem, Engine } from '../engine/engine.ts'
import { collectQuietly } from '../engine/images/collect.ts'
import type { Digest } from '../oci/digest.ts'
import type { SnapshotStore } from '../store/types.ts'
import type { ClientFolders } from './clients/folders.ts'
import type { Cache } from './solver/cache.ts'
import { Collector, type Place, usageNow } from './solver/collect.ts'
import { readGcRules } from './solver/gc.ts'
import type { PruneRule } from './solver/prune.ts'
import type { CacheRecord, LayerRef } from './solver/types.ts'
import type { UsageRow } from './solver/usage.ts'
import type { CacheMounts } from './steps/exec/cacheMounts.ts'
import { presentLayers } from './steps/image/layers.ts'

export interface UpkeepParts {
  engine: Engine
  snapshots: SnapshotStore
  cache: Cache
  cacheMounts: CacheMounts
  folders: ClientFolders
  /** `builder.gc` of daemon.json. */
  gc: unknown
}

const rowOf = (
  row: Pick<
    UsageRow,
    'id' | 'kind' | 'description' | 'inUse' | 'size' | 'createdAt' | 'lastUsedAt' | 'usageCount'
  >,
): UsageRow => ({
  ...row,
  parents: [],
  held: row.inUse,
  shared: false,
  mutable: true,
  duration: 0,
  found: true,
})

/** What builds leave for the next ones, as a whole: results, cache mounts, folders of clients; what of it goes. */
export class Upkeep {
  readonly #parts: UpkeepParts
  readonly #collector: Collector
  /** Bytes of cache mounts and folders, by path, as they were when they were used last. */
  readonly #sizes = new Map<string, { bytes: number; usedAt: number }>()

  constructor(parts: UpkeepParts) {
    this.#parts = parts
    this.#collector = new Collector({ ...this.#place(), ...limitsOf(parts) })
  }

  rows(): Promise<UsageRow[]> {
    return usageNow(this.#place())
  }

  /** As `docker system df -v` shows them. */
  async items(): Promise<CacheItem[]> {
    return (await this.rows()).map(({ kind: type, ...row }) => ({ ...row, type }))
  }

  /** Gives what went; layers of base images that nothing needs then go with it. */
  async prune(rule: PruneRule): Promise<UsageRow[]> {
    const { cache, engine } = this.#parts
    const before = blobsOf(cache.all())
    const gone = await this.#collector.prune(rule)
    if (gone.length > 0) await collectQuietly(engine, [...before])
    return gone
  }

  /** A record is new: the cap holds while builds run. */
  async recorded(layers: readonly LayerRef[]): Promise<void> {
    const { snapshots } = this.#parts
    let bytes = 0
    for (const layer of layers)
      if (layer.kind === 'snapshot' && snapshots.find(layer.id))
        bytes += (await snapshots.usage(layer.id)).diskBytes
    await this.#collector.recorded(bytes)
  }

  /** A build has ended. */
  collect(): Promise<void> {
    return this.#collector.collect()
  }

  #place(): Place {
    const { engine, snapshots, cache } = this.#parts
    return {
      cache,
      layerSizes: async () => {
        const ids = await snapshots.list()
        const sizes = ids.map(async id => [id, (await snapshots.usage(id)).diskBytes] as const)
        return new Map([...(await Promise.all(sizes)), ...(await this.#importedSizes())])
      },
      sharing: () => this.#sharing(),
      free: async () => {
        const { bavail, bsize } = statfsSync(engine.settings.dataRoot)
        return bavail * bsize
      },
      removeSnapshots: async ids => {
        for (const id of ids) await snapshots.remove(id)
      },
      others: () => this.#others(),
      removeOthers: async ids => {
        const { cacheMounts, folders } = this.#parts
        const gone: string[] = []
        for (const id of ids) if ((await cacheMounts.remove(id)) || folders.remove(id)) gone.push(id)
        return gone
      },
    }
  }

  /** Of layers that came of imported caches: as folders, and as they came. */
  async #importedSizes(): Promise<Map<string, number>> {
    const { engine, cache } = this.#parts
    const sizes = new Map<string, number>()
    for (const { tree } of cache.all()) {
      const isNew = (layer: LayerRef): boolean =>
        layer.kind === 'image' && layer.origin !== undefined && !sizes.has(layer.diffId)
      if (!tree.layers.some(isNew)) continue
      for (const { ref, layer } of presentLayers(engine, tree))
        if (layer && isNew(ref))
          sizes.set(ref.diffId, layer.diskBytes + ((await engine.content.info(ref.blob))?.size ?? 0))
    }
    return sizes
  }

  #sharing(): (record: CacheRecord) => boolean {
    const { engine, snapshots } = this.#parts
    const named = new Set(engine.images.all().flatMap(({ config }) => config.rootfs.diff_ids))
    return ({ tree }) => {
      const top = tree.layers.at(-1)
      const diffId = top?.kind === 'snapshot' ? snapshots.find(top.id)?.diffId : top?.origin && top.diffId
      return diffId !== undefined && named.has(diffId)
    }
  }

  async #others(): Promise<UsageRow[]> {
    const { engine, cacheMounts, folders } = this.#parts
    // What nobody has used since is as large as it was.
    const sized = async (directory: string, usedAt: number, inUse: boolean): Promise<number> => {
      const known = this.#sizes.get(directory)
      if (known && (inUse || known.usedAt === usedAt)) return known.bytes
      try {
        const { diskBytes: bytes } = await engine.pool.run('measure', { directory })
        this.#sizes.set(directory, { bytes, usedAt: inUse ? 0 : usedAt })
        return bytes
      } catch (error) {
        if (hasCode(error, 'not-found')) return 0
        throw error
      }
    }
    const mounts = cacheMounts
      .usage()
      .map(async ({ path, key: _key, ...mount }) =>
        rowOf({ ...mount, kind: 'exec.cachemount', size: await sized(path, mount.lastUsedAt, mount.inUse) }),
      )
    const kept = folders.usage().map(async ({ path, ...folder }) =>
      rowOf({
        ...folder,
        kind: 'source.local',
        description: 'local source for a context',
        size: await sized(path, folder.lastUsedAt, folder.inUse),
      }),
    )
    const rows = await Promise.all([...mounts, ...kept])
    const there = new Set([...cacheMounts.usage(), ...folders.usage()].map(({ path }) => path))
    for (const directory of this.#sizes.keys()) if (!there.has(directory)) this.#sizes.delete(directory)
    return rows
  }
}

const blobsOf = (records: Iterable<CacheRecord>): Set<Digest> => {
  const blobs = new Set<Digest>()
  for (const { tree } of records)
    for (const layer of tree.layers) if (layer.kind === 'image') blobs.add(layer.blob)
  return blobs
}

/** The cap is what the rules would have at most, of all. */
const limitsOf = ({ engine, gc }: UpkeepParts): { rules: PruneRule[]; cap: number } => {
  const { blocks, bsize } = statfsSync(engine.settings.dataRoot)
  const rules = readGcRules(gc, { total: blocks * bsize }, Date.now())
  const cap = Math.max(0, ...rules.map(({ maxUsedSpace = 0 }) => maxUsedSpace))
  return { rules, cap: cap > 0 ? cap : Number.POSITIVE_INFINITY }
}
