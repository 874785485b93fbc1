import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { UnpackLimits } from '../archive/budget.ts'
import type { Comparison } from '../archive/compare.ts'
import type { WorkerPool } from '../archive/pool.ts'
import { BerthError, internal } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { makeTreesFolder } from '../linux/unrelatedTrees.ts'
import { chainId, type Digest, isDigest } from '../oci/digest.ts'
import { Arriving, type Fresh } from './arrivingLayer.ts'
import { UNFINISHED } from './durable.ts'
import { wrongDiffId } from './layerErrors.ts'
import {
  contentDirectory,
  type LayerRecord,
  layerHome,
  layerOf,
  readRecord,
  recordBlocks,
  recordFile,
  stackLayer,
  whiteoutFile,
} from './layerRecord.ts'
import { LayerUnpacker } from './layerUnpacker.ts'
import { isUnmoved, moveLeavingLink } from './movedFolder.ts'
import { RecordSync } from './recordSync.ts'
import { REPLACED, ReplacedLayers } from './replacedLayers.ts'
import { Trash } from './trash.ts'
import type {
  AdoptedLayer,
  ArrivingLayer,
  ContentStore,
  Layer,
  LayerPlace,
  LayerSource,
  LayerStore,
  LayerWorkOptions,
  RemadeLayer,
} from './types.ts'

export interface LayerStoreOptions {
  /** The data root. */
  root: string
  content: ContentStore
  pool: WorkerPool
  /** `overlay`: whiteouts as overlayfs wants them. `record`: in a file, for filesystems that cannot hold those. */
  whiteouts?: 'overlay' | 'record'
  limits?: Partial<UnpackLimits>
  /** Identifies this boot: what another one left unsynced is not trusted. */
  bootId: string
  /** Hears of what failed in the background: deletions, and writing layers to the disk. */
  onError?: (path: string, error: unknown) => void
  /** Hears of each deletion: space is free again. */
  onDeleted?: () => void
}

type EnsureOptions = NonNullable<Parameters<LayerStore['ensure']>[1]>

/** The unpacking of one image: from its first layer under way to all of them recorded. */
interface Batch {
  sources: readonly LayerSource[]
  chain: Digest[]
  options: EnsureOptions
  /** Unpacked and not yet used, by diff id. */
  fresh: Map<Digest, Fresh>
  /** Made by this batch and waiting for their final names. */
  made: { home: string; record: LayerRecord }[]
}

class DirectoryLayerStore implements LayerStore {
  readonly #options: LayerStoreOptions
  readonly #directory: string
  readonly #trash: Trash
  readonly #sync: RecordSync<LayerRecord>
  readonly #replaced: ReplacedLayers
  readonly #unpacker: LayerUnpacker
  readonly #records = new Map<Digest, LayerRecord>()
  /** Diff ids that a batch is unpacking now. */
  readonly #claims = new Map<Digest, Promise<unknown>>()

  constructor(options: LayerStoreOptions) {
    this.#options = options
    this.#directory = join(options.root, 'layers')
    this.#trash = new Trash(options)
    this.#sync = new RecordSync({
      directory: this.#directory,
      point: 'layers.synced',
      fileOf: ({ key }) => recordFile(layerHome(options.root, key)),
      settled: ({ unsynced: _, ...record }) => record,
      onError: options.onError ?? (() => {}),
    })
    this.#replaced = new ReplacedLayers(this.#directory, this.#trash)
    this.#unpacker = new LayerUnpacker({ ...options, directory: this.#directory, trash: this.#trash })
  }

  async ensure(sources: readonly LayerSource[], options: EnsureOptions = {}): Promise<Layer[]> {
    const diffIds = sources.map(source => source.diffId)
    const chain = diffIds.map((_, index) => chainId(diffIds.slice(0, index + 1)))
    for (;;) {
      if (options.signal?.aborted) throw new BerthError('cancelled', 499, 'unpacking was cancelled')
      const missing = new Set(diffIds.filter((diffId, index) => !this.#recorded(diffId, chain[index])))
      if (missing.size === 0) return this.#layers(diffIds, chain)
      const others = [...missing].flatMap(diffId => this.#claims.get(diffId) ?? [])
      // All or none are claimed, so batches never wait for each other in a circle.
      if (others.length > 0) await Promise.allSettled(others)
      else await this.#claimed(missing, { sources, chain, options, fresh: new Map(), made: [] })
    }
  }

  follow({ size = 0, signal }: { size?: number; signal?: AbortSignal } = {}): ArrivingLayer {
    return new Arriving({
      unpack: (blob, { shared: arrival }, onProgress) =>
        this.#unpacker.growing(
          { blob, blobSize: size, arrival },
          { ...(signal ? { signal } : {}), onProgress },
        ),
      discard: ({ home }) => this.#trash.take(home),
    })
  }

  async find(diffIds: readonly Digest[]): Promise<Layer[] | undefined> {
    const chain = diffIds.map((_, index) => chainId(diffIds.slice(0, index + 1)))
    const all = diffIds.every((diffId, index) => this.#recorded(diffId, chain[index]))
    return all ? this.#layers(diffIds, chain) : undefined
  }

  present(diffIds: readonly Digest[]): (Layer | undefined)[] {
    return diffIds.map((diffId, index) => {
      const record = this.#recorded(diffId, chainId(diffIds.slice(0, index + 1)))
      return record && layerOf(this.#options.root, record)
    })
  }

  async list(): Promise<Layer[]> {
    return [...this.#records.values()].map(record => layerOf(this.#options.root, record))
  }

  async remove(key: Digest): Promise<void> {
    this.#records.delete(key)
    this.#trash.take(layerHome(this.#options.root, key))
  }

  async recover(): Promise<void> {
    makeTreesFolder(this.#directory, 0o700)
    for (const name of await readdir(this.#directory)) {
      if (name.startsWith(REPLACED)) continue
      const home = join(this.#directory, name)
      const record = name.startsWith(UNFINISHED) ? undefined : readRecord(home)
      if (record && this.#isWhole(record, home)) this.#records.set(record.key, record)
      // Its record was lost, and somebody may have it mounted.
      else if (!record && isDigest(`sha256:${name}`) && isUnmoved(home)) this.#replaced.setAside(home)
      else this.#trash.take(home)
    }
    this.#sync.add([...this.#records.values()].filter(record => record.unsynced !== undefined))
    this.#trash.recover()
  }

  look({ key }: Layer): 'folder' | 'record' | undefined {
    const home = layerHome(this.#options.root, key)
    if (!existsSync(contentDirectory(home))) return 'folder'
    return readRecord(home)?.key === key ? undefined : 'record'
  }

  async compare({ layer, source, below }: LayerPlace, options: LayerWorkOptions = {}): Promise<Comparison> {
    const { pool } = this.#options
    const home = layerHome(this.#options.root, layer.key)
    return await pool.run(
      'compareLayer',
      {
        ...(await this.#unpacker.blobFile(source.blob)),
        directory: contentDirectory(home),
        below: below.map(stackLayer),
        ...(this.#options.whiteouts === 'record' ? { record: whiteoutFile(home) } : {}),
      },
      options,
    )
  }

  async remake({ layer, source, below }: LayerPlace, options: LayerWorkOptions = {}): Promise<RemadeLayer> {
    const fresh = await this.#unpacker.stored(source, options)
    try {
      if (fresh.result.diffId !== source.diffId) throw wrongDiffId(source, fresh.result.diffId)
      const chain = chainId([...below.map(({ diffId }) => diffId), source.diffId])
      const record = await this.#complete(fresh, { index: below.length, chain, below })
      if (record.key !== layer.key) throw internal(`layer ${layer.key} would be ${record.key} now`)
      await writeFile(recordFile(fresh.home), JSON.stringify(record))
      failpoint('layers.remade')
      return this.#remade(fresh.home, record)
    } catch (error) {
      this.#trash.take(fresh.home)
      throw error
    }
  }

  #remade(fresh: string, record: LayerRecord): RemadeLayer {
    const home = layerHome(this.#options.root, record.key)
    return {
      replace: users => {
        if (!this.#records.has(record.key)) return false
        if (existsSync(home)) this.#replaced.replace(home, fresh, users)
        else renameSync(fresh, home)
        this.#records.set(record.key, record)
        this.#sync.add([record])
        return true
      },
      // Where it took the other's place, nothing has its name.
      [Symbol.dispose]: () => this.#trash.take(fresh),
    }
  }

  async adopt(home: string, known: AdoptedLayer): Promise<Layer> {
    // A batch that unpacks the same is to give it its name first, or not at all.
    for (let other = this.#claims.get(known.diffId); other; other = this.#claims.get(known.diffId))
      await other.catch(() => {})
    const there = this.#recorded(known.diffId, known.diffId)
    if (there) return layerOf(this.#options.root, there)
    const { diffId } = known
    const record: LayerRecord = {
      ...known,
      version: 1,
      key: diffId,
      dependent: false,
      unsynced: this.#options.bootId,
    }
    writeFileSync(recordFile(home), JSON.stringify(record))
    failpoint('layers.before-adopt')
    const target = layerHome(this.#options.root, diffId)
    // What has this name without a record was lost under somebody's mount.
    if (existsSync(target)) this.#replaced.setAside(target)
    moveLeavingLink(home, target)
    failpoint('layers.adopted')
    this.#records.set(diffId, record)
    this.#sync.add([record])
    return layerOf(this.#options.root, record)
  }

  released(id: string): void {
    this.#replaced.released(id)
  }

  replaced(): string[] {
    return this.#replaced.homes()
  }

  recoverReplaced(mountedWith: (key: Digest) => string[]): void {
    this.#replaced.recover(mountedWith)
  }

  #isWhole(record: LayerRecord, home: string): boolean {
    if (layerHome(this.#options.root, record.key) !== home) return false
    return record.unsynced === undefined || record.unsynced === this.#options.bootId
  }

  async synced(): Promise<void> {
    await this.#sync.idle()
  }

  async idle(): Promise<void> {
    await this.#sync.idle()
    await this.#trash.idle()
  }

  /** A layer serves under its chain id, or under its diff id where it does not depend on what is below. */
  #recorded(diffId: Digest, chain: Digest | undefined): LayerRecord | undefined {
    const own = chain && this.#records.get(chain)
    if (own?.diffId === diffId) return own
    const shared = this.#records.get(diffId)
    return shared?.dependent ? undefined : shared
  }

  #layers(diffIds: readonly Digest[], chain: readonly Digest[]): Layer[] {
    return diffIds.flatMap((diffId, index) => {
      const record = this.#recorded(diffId, chain[index])
      return record ? [layerOf(this.#options.root, record)] : []
    })
  }

  async #claimed(missing: Set<Digest>, batch: Batch): Promise<void> {
    const work = this.#unpackBatch(missing, batch)
    for (const diffId of missing) this.#claims.set(diffId, work)
    try {
      await work
    } finally {
      for (const diffId of missing) this.#claims.delete(diffId)
      for (const { home } of [...batch.fresh.values(), ...batch.made]) this.#trash.take(home)
    }
  }

  async #unpackBatch(missing: Set<Digest>, batch: Batch): Promise<void> {
    await this.#unpackAll(missing, batch)
    failpoint('layers.unpacked')
    const below: Layer[] = []
    for (const [index, source] of batch.sources.entries())
      below.push(await this.#settle(batch, index, source, below))
    await this.#publish(batch)
  }

  /** Unpacks in parallel; the first failure ends the others. */
  async #unpackAll(missing: Set<Digest>, batch: Batch): Promise<void> {
    const stop = new AbortController()
    const { signal } = batch.options
    const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal
    const unique = new Map(batch.sources.map(source => [source.diffId, source]))
    let failure: { error: unknown } | undefined
    await Promise.all(
      [...missing].map(async diffId => {
        const source = unique.get(diffId)
        try {
          if (source) batch.fresh.set(diffId, await this.#unpack(source, { ...batch.options, signal: both }))
        } catch (error) {
          failure ??= { error }
          stop.abort()
        }
      }),
    )
    if (failure) throw failure.error
  }

  async #unpack(source: LayerSource, options: EnsureOptions): Promise<Fresh> {
    const onProgress = (bytes: number): void => options.onProgress?.(source, bytes)
    const arrived = options.arrived?.(source.blob)
    const fresh =
      (arrived instanceof Arriving && (await arrived.take(onProgress))) ||
      (await this.#unpacker.stored(source, {
        ...(options.signal ? { signal: options.signal } : {}),
        onProgress,
        isVerified: options.verified?.(source.blob) ?? false,
      }))
    if (fresh.result.diffId === source.diffId) return fresh
    this.#trash.take(fresh.home)
    throw wrongDiffId(source, fresh.result.diffId)
  }

  /** The layer at a position of the stack: recorded already, made by this batch already, or completed now. */
  async #settle(batch: Batch, index: number, source: LayerSource, below: readonly Layer[]): Promise<Layer> {
    const chain = batch.chain[index] ?? source.diffId
    const there = this.#recorded(source.diffId, chain)
    if (there) return layerOf(this.#options.root, there)
    const made = batch.made.find(({ record }) => record.key === source.diffId && !record.dependent)
    if (made) return { ...layerOf(this.#options.root, made.record), path: contentDirectory(made.home) }
    const fresh = batch.fresh.get(source.diffId) ?? (await this.#unpack(source, batch.options))
    batch.fresh.set(source.diffId, fresh)
    const record = await this.#complete(fresh, { index, chain, below })
    await writeFile(recordFile(fresh.home), JSON.stringify(record))
    batch.fresh.delete(source.diffId)
    batch.made.push({ home: fresh.home, record })
    return { ...layerOf(this.#options.root, record), path: contentDirectory(fresh.home) }
  }

  async #complete(
    { home, result }: Fresh,
    at: { index: number; chain: Digest; below: readonly Layer[] },
  ): Promise<LayerRecord> {
    const dependent = result.links.length > 0 || result.implied.length > 0
    const needs = dependent && (at.index > 0 || result.links.length > 0)
    const size = needs
      ? await this.#options.pool.run('completeLayer', {
          directory: contentDirectory(home),
          links: result.links,
          implied: result.implied,
          below: at.below.map(stackLayer),
        })
      : result
    return {
      version: 1,
      key: dependent ? at.chain : result.diffId,
      diffId: result.diffId,
      size: size.size,
      diskBytes: size.diskBytes + (await recordBlocks(home)),
      entries: size.entries,
      dependent,
      opaqueRoot: result.opaqueRoot,
      ...(result.root ? { root: result.root } : {}),
      unsynced: this.#options.bootId,
    }
  }

  /** The names; the disk follows in the background, with one syncfs for the whole image. */
  async #publish(batch: Batch): Promise<void> {
    failpoint('layers.before-rename')
    const published: LayerRecord[] = []
    for (let next = batch.made[0]; next; next = batch.made[0]) {
      await rename(next.home, layerHome(this.#options.root, next.record.key))
      batch.made.shift()
      this.#records.set(next.record.key, next.record)
      published.push(next.record)
      failpoint('layers.renamed')
    }
    this.#sync.add(published)
  }
}

/** The layer store of a data root. Call `recover` once before anything else. */
export const openLayerStore = (options: LayerStoreOptions): LayerStore => new DirectoryLayerStore(options)
