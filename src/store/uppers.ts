import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { ChangeName } from '../archive/changes.ts'
import { toBytes } from '../archive/paths.ts'
import type { WorkerPool } from '../archive/pool.ts'
import type { ChangesTask } from '../archive/tasks.ts'
import { BerthError, badRequest, hasCode, internal, messageOf, notFound } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { SerialQueue } from '../core/queue.ts'
import { type IdMaps, rootOf } from '../linux/idMaps.ts'
import { isMountRoot, makeHiddenMount } from '../linux/mount.ts'
import type { NamespaceHelper } from '../linux/namespaceHelper.ts'
import type { OverlayPath } from '../linux/overlay.ts'
import { endLimit, hasProjectQuotas, limitDirectory } from '../linux/projectQuota.ts'
import { makeTreesFolder } from '../linux/unrelatedTrees.ts'
import type { Digest } from '../oci/digest.ts'
import { CopySnapshotter } from './copy.ts'
import { syncDirectory, UNFINISHED, unfinishedName, writeDurably } from './durable.ts'
import { ensureInitLayer, initLayerFor, recoverInitLayers } from './initLayer.ts'
import { contentDirectory, effectiveStack, layerHome, stackLayer } from './layerRecord.ts'
import { recoverMappedDirectories } from './mappedLayers.ts'
import { OwnerNamespaces } from './mappedOwners.ts'
import { OverlaySnapshotter } from './overlay.ts'
import { type Snapshotter, UPPER } from './snapshotter.ts'
import { Trash } from './trash.ts'
import type { Change, ChangeKind, Layer, UpperMount, UpperStore, UpperUsage } from './types.ts'
import type { Unmounter } from './unmounter.ts'

export interface UpperStoreOptions {
  /** The data root: `uppers/` below it holds what containers wrote. */
  root: string
  /** The exec root: `mounts/` below it holds mount points. */
  execRoot: string
  pool: WorkerPool
  unmounter: Unmounter
  /** Enters user namespaces, for owners that are mapped. */
  namespaceHelper?: NamespaceHelper
  /** `copy` where overlayfs cannot be used (`probeOverlay` tells), else by which calls it is mounted. */
  snapshotter: OverlayPath | 'copy'
  /** Hears of deletions in the background that failed. */
  onError?: (path: string, error: unknown) => void
  /** Hears of each deletion: space is free again. */
  onDeleted?: () => void
  /** Hears of each unmount that is done. */
  onUnmounted?: (id: string) => void
}

/** `<root>/uppers/<id>/upper.json`. */
interface UpperRecord {
  version: 1
  /** Effective layers, bottom first. */
  layers: Layer[]
  /** Name of the init layer over them; absent where there is none. */
  init?: string
  /** It has a limit, which goes with it. */
  limited?: true
}

const kinds: Record<ChangeName, ChangeKind> = { modified: 0, added: 1, deleted: 2 }

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/

class DirectoryUpperStore implements UpperStore {
  readonly #options: UpperStoreOptions
  readonly #directory: string
  readonly #mounts: string
  readonly #mapped: string
  readonly #namespaces: OwnerNamespaces
  readonly #trash: Trash
  readonly #snapshotter: Snapshotter
  readonly #queues = new Map<string, SerialQueue>()
  readonly #records = new Map<string, UpperRecord>()
  /** Found out when it is first asked. */
  #canLimit: boolean | undefined

  constructor(options: UpperStoreOptions) {
    this.#options = options
    this.#directory = join(options.root, 'uppers')
    this.#mounts = join(options.execRoot, 'mounts')
    this.#mapped = join(options.execRoot, 'mapped-layers')
    this.#namespaces = new OwnerNamespaces(options.namespaceHelper)
    this.#trash = new Trash(options)
    this.#snapshotter =
      options.snapshotter === 'copy'
        ? new CopySnapshotter(options.pool)
        : new OverlaySnapshotter(options.root, { path: options.snapshotter, mapped: this.#mapped })
  }

  get canLimit(): boolean {
    this.#canLimit ??= hasProjectQuotas(this.#options.root)
    return this.#canLimit
  }

  async create(
    id: string,
    layers: readonly Layer[],
    options: { init: boolean; limit?: number } = { init: false },
  ): Promise<void> {
    if (!ID.test(id)) throw badRequest(`invalid id of a writable layer: ${JSON.stringify(id)}`)
    await this.#serial(id, async () => {
      if (this.#records.has(id)) return
      const stack = effectiveStack(layers)
      try {
        const init = options.init ? { init: initLayerFor(stack.map(stackLayer)) } : {}
        await this.#make(id, { version: 1, layers: stack, ...init }, options.limit)
      } catch (error) {
        throw lostLayer(stack) ?? error
      }
    })
  }

  async mount(id: string, options: UpperMount = {}): Promise<string> {
    return await this.#serial(id, async () => {
      const record = this.#record(id)
      const target = this.#target(id)
      if (isMountRoot(target)) return target
      mkdirSync(target, { recursive: true, mode: 0o700 })
      failpoint('uppers.before-mount')
      const owners = options.owners && (await this.#namespaces.of(options.owners))
      try {
        this.#snapshotter.mount({
          home: this.#home(id),
          layers: record.layers,
          init: this.#init(record),
          target,
          volatile: options.volatile ?? false,
          label: options.label,
          owners,
        })
      } catch (error) {
        throw lostLayer(record.layers) ?? error
      }
      failpoint('uppers.mounted')
      return target
    })
  }

  async checkOwners(owners: IdMaps): Promise<void> {
    const name = unfinishedName()
    const [home, target] = [join(this.#directory, name), this.#target(name)]
    for (const path of [home, target]) mkdirSync(path, { mode: 0o700 })
    const upper = { home, layers: [], init: undefined }
    try {
      await this.#snapshotter.prepare(upper)
      const mapped = await this.#namespaces.of(owners)
      this.#snapshotter.mount({ ...upper, target, volatile: true, label: undefined, owners: mapped })
      const { uid } = statSync(target)
      if (uid !== rootOf(owners).uid) throw internal(`its owner is ${uid}`)
    } catch (error) {
      throw new BerthError(
        'owners-cannot-be-mapped',
        500,
        `the owners of files below ${this.#options.root} cannot be mapped (${messageOf(error)}), which containers in user namespaces need: that takes Linux 5.19 or newer, and a file system that can be mounted with its ids mapped (ext4, XFS and Btrfs can). Leave --userns-remap out, or put --data-root on such a file system`,
        { cause: error },
      )
    } finally {
      if (isMountRoot(target)) await this.#options.unmounter.unmount(target)
      rmdirSync(target)
      this.#trash.take(home)
    }
  }

  mounted(id: string): string | undefined {
    const target = this.#target(id)
    return isMountRoot(target) ? target : undefined
  }

  places(): string[] {
    return readdirSync(this.#mounts)
  }

  mountedWith(key: Digest): string[] {
    return [...this.#records].flatMap(([id, { layers }]) =>
      layers.some(layer => layer.key === key) && this.mounted(id) !== undefined ? [id] : [],
    )
  }

  async unmount(id: string): Promise<void> {
    await this.#serial(id, () => this.#unmount(id))
  }

  async remove(id: string): Promise<void> {
    await this.#serial(id, async () => {
      await this.#unmount(id)
      failpoint('uppers.unmounted')
      if (this.#records.get(id)?.limited) endLimit(this.#home(id))
      this.#records.delete(id)
      this.#trash.take(this.#home(id))
    })
  }

  async usage(id: string): Promise<UpperUsage> {
    const task = this.#task(id)
    const { pool } = this.#options
    const all = await pool.run('measure', { directory: task.directory, symlinks: true })
    const size = task.kind === 'upper' ? all.size : await pool.run('changedSize', task)
    return { size, diskBytes: all.diskBytes }
  }

  async changes(id: string): Promise<Change[]> {
    const found = await this.#options.pool.run('changes', this.#task(id))
    return found.map(({ path, kind }) => ({ Path: `/${toBytes(path).toString('utf8')}`, Kind: kinds[kind] }))
  }

  diffTar(id: string, signal?: AbortSignal): Readable {
    const bytes = this.#options.pool.stream('packChanges', this.#task(id), signal ? { signal } : {})
    return Readable.from(bytes, { objectMode: false })
  }

  async list(): Promise<string[]> {
    return [...this.#records.keys()]
  }

  paths(id: string): { LowerDir: string; MergedDir: string; UpperDir: string; WorkDir: string } {
    const record = this.#record(id)
    const init = this.#init(record)
    const lowers = record.layers.map(layer => layer.path).reverse()
    return {
      LowerDir: [...(init ? [init] : []), ...lowers].join(':'),
      MergedDir: this.#target(id),
      UpperDir: join(this.#home(id), UPPER),
      WorkDir: join(this.#home(id), 'work'),
    }
  }

  async recover(): Promise<void> {
    makeTreesFolder(this.#directory, 0o700)
    // Processes in user namespaces of their own go through it to their roots.
    mkdirSync(this.#mounts, { recursive: true, mode: 0o711 })
    chmodSync(this.#mounts, 0o711)
    makeHiddenMount(this.#mounts)
    recoverMappedDirectories(this.#mapped)
    recoverInitLayers(this.#options.root)
    for (const name of readdirSync(this.#directory)) {
      const record = name.startsWith(UNFINISHED) ? undefined : this.#read(name)
      if (record) this.#records.set(name, record)
      else this.#trash.take(join(this.#directory, name))
    }
    for (const name of readdirSync(this.#mounts))
      if (!this.#records.has(name))
        // One mount that does not go must not keep the daemon from starting.
        await this.#unmount(name).catch(error => this.#options.onError?.(this.#target(name), error))
    this.#trash.recover()
  }

  async idle(): Promise<void> {
    await this.#trash.idle()
  }

  async #make(id: string, wanted: UpperRecord, limit: number | undefined): Promise<void> {
    const home = join(this.#directory, unfinishedName())
    mkdirSync(home, { mode: 0o710 })
    const record: UpperRecord = limit === undefined ? wanted : { ...wanted, limited: true }
    try {
      if (limit !== undefined) limitDirectory(home, limit)
      await this.#snapshotter.prepare({ home, layers: record.layers, init: this.#init(record) })
      failpoint('uppers.prepared')
      await writeDurably(join(home, 'upper.json'), JSON.stringify(record))
      failpoint('uppers.before-rename')
      renameSync(home, this.#home(id))
    } catch (error) {
      if (record.limited) endLimit(home)
      this.#trash.take(home)
      throw error
    }
    await syncDirectory(this.#directory)
    this.#records.set(id, record)
    failpoint('uppers.created')
  }

  async #unmount(id: string): Promise<void> {
    const target = this.#target(id)
    await this.#options.unmounter.unmount(target)
    try {
      rmdirSync(target)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    this.#options.onUnmounted?.(id)
  }

  #task(id: string): ChangesTask {
    const record = this.#record(id)
    const init = this.#init(record)
    return {
      directory: join(this.#home(id), UPPER),
      kind: this.#snapshotter.kind,
      layers: [...record.layers.map(stackLayer), ...(init ? [{ path: init }] : [])],
    }
  }

  #init({ init }: UpperRecord): string | undefined {
    return init === undefined ? undefined : ensureInitLayer(this.#options.root, init)
  }

  #record(id: string): UpperRecord {
    const record = this.#records.get(id)
    if (!record) throw notFound(`the writable layer ${id} does not exist`)
    return record
  }

  /** Layers are found by key, so that a data root can be moved. */
  #read(id: string): UpperRecord | undefined {
    const record = readUpper(this.#home(id))
    if (!record) return undefined
    const { root } = this.#options
    return {
      ...record,
      layers: record.layers.map(layer => ({ ...layer, path: contentDirectory(layerHome(root, layer.key)) })),
    }
  }

  #home(id: string): string {
    return join(this.#directory, id)
  }

  #target(id: string): string {
    return join(this.#mounts, id)
  }

  /** One verb at a time on an id; the queue goes when nobody waits. */
  async #serial<T>(id: string, verb: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(id) ?? new SerialQueue()
    this.#queues.set(id, queue)
    try {
      return await queue.run(verb)
    } finally {
      // The queue counts down after this task's own continuation.
      setImmediate(() => {
        if (queue.idle && this.#queues.get(id) === queue) this.#queues.delete(id)
      })
    }
  }
}

/** Why a mount could not be made, where one of its layers is not there. */
const lostLayer = (layers: readonly Layer[]): Error | undefined => {
  const lost = layers.find(({ path }) => !existsSync(path))
  return (
    lost &&
    new BerthError(
      'layer-missing',
      500,
      `the layer ${lost.diffId} of the container's image is not on the disk any more: pull or load the image again, or have the store repaired (POST /berth/v1/system/check?repair=fetch)`,
    )
  )
}

const readUpper = (home: string): UpperRecord | undefined => {
  try {
    const record: UpperRecord = JSON.parse(readFileSync(join(home, 'upper.json'), 'utf8'))
    return record.version === 1 ? record : undefined
  } catch {
    return undefined
  }
}

/** The store of writable layers. Call `recover` once before anything else. */
export const openUpperStore = (options: UpperStoreOptions): UpperStore => new DirectoryUpperStore(options)
