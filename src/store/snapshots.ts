import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { WorkerPool } from '../archive/pool.ts'
import type { SettledLayer } from '../archive/settle.ts'
import { badRequest, conflict, internal, notFound } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import type { NamespaceHelper } from '../linux/namespaceHelper.ts'
import type { OverlayPath } from '../linux/overlay.ts'
import { removeTree } from '../linux/removeTree.ts'
import { makeTreesFolder } from '../linux/unrelatedTrees.ts'
import type { Digest } from '../oci/digest.ts'
import { CopySnapshotter } from './copy.ts'
import { UNFINISHED, unfinishedName } from './durable.ts'
import { ensureInitLayer, initLayerFor } from './initLayer.ts'
import { contentDirectory, effectiveStack, stackLayer, whiteoutFile } from './layerRecord.ts'
import { LayerUses } from './layerUses.ts'
import { recoverMappedDirectories } from './mappedLayers.ts'
import { OverlaySnapshotter } from './overlay.ts'
import { RecordSync } from './recordSync.ts'
import { adoptSnapshot, digestArchive, packingOf } from './sealing.ts'
import { dropShortLink } from './shortLinks.ts'
import { type SnapshotMount, SnapshotMounts } from './snapshotMounts.ts'
import {
  layerOfSnapshot,
  ownBlocks,
  type SnapshotRecord,
  snapshotFile,
  snapshotKey,
  snapshotLayer,
  trustedSnapshot,
  writeSnapshot,
} from './snapshotRecord.ts'
import { rootOfStack, type Snapshotter, UPPER } from './snapshotter.ts'
import { Trash } from './trash.ts'
import type {
  BeginSnapshot,
  Layer,
  LayerStore,
  PendingSnapshot,
  SealOptions,
  SnapshotStore,
  StackView,
  UpperUsage,
} from './types.ts'
import type { Unmounter } from './unmounter.ts'

export interface SnapshotStoreOptions {
  /** The data root: `snapshots/` below it holds what build steps wrote. */
  root: string
  /** The exec root: `snapshots/` below it holds mount points. */
  execRoot: string
  layers: LayerStore
  pool: WorkerPool
  unmounter: Unmounter
  /** Enters user namespaces, for owners that are mapped. */
  namespaceHelper?: NamespaceHelper
  /** `copy` where overlayfs cannot be used (`probeOverlay` tells), else by which calls it is mounted. */
  snapshotter: OverlayPath | 'copy'
  /** Identifies this boot: what another one left unsynced is not trusted. */
  bootId: string
  /** Hears of what failed in the background: deletions, and writing snapshots to the disk. */
  onError?: (path: string, error: unknown) => void
  /** Hears of each deletion: space is free again. */
  onDeleted?: () => void
}

/** Below the exec root: layers with their owners mapped, while an overlay is made of them. */
const MAPPED = 'mapped-snapshots'

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/

/** Something that is written to or looked at: its folder, and where it is mounted. */
interface Open {
  /** `.new-…`; `layer` in it is what a snapshotter makes. */
  home: string
  stack: readonly Layer[]
  /** The init layer that lies over them. */
  init: string | undefined
  held: Disposable
  /** Undefined for one that is not mounted. */
  target: string | undefined
}

type MountOptions = Omit<SnapshotMount, 'home' | 'layers' | 'init'>

class DirectorySnapshotStore implements SnapshotStore {
  readonly #options: SnapshotStoreOptions
  readonly #directory: string
  readonly #mounts: SnapshotMounts
  readonly #trash: Trash
  readonly #uses: LayerUses
  readonly #sync: RecordSync<SnapshotRecord>
  readonly #snapshotter: Snapshotter
  readonly #records = new Map<string, SnapshotRecord>()
  /** Ids that are being made. */
  readonly #pending = new Set<string>()
  readonly #sealing = new Map<string, Promise<Layer>>()
  readonly #onError: (path: string, error: unknown) => void

  constructor(options: SnapshotStoreOptions) {
    const { root, execRoot, snapshotter, pool } = options
    this.#options = options
    this.#onError = options.onError ?? (() => {})
    this.#directory = join(root, 'snapshots')
    this.#trash = new Trash(options)
    this.#uses = new LayerUses({
      directory: this.#directory,
      trash: this.#trash,
      onReleased: user => options.layers.released(user),
    })
    this.#snapshotter =
      snapshotter === 'copy'
        ? new CopySnapshotter(pool)
        : new OverlaySnapshotter(root, { path: snapshotter, mapped: join(execRoot, MAPPED) })
    this.#mounts = new SnapshotMounts({
      ...options,
      directory: join(execRoot, 'snapshots'),
      snapshotter: this.#snapshotter,
    })
    this.#sync = new RecordSync({
      directory: this.#directory,
      point: 'snapshots.synced',
      fileOf: ({ id }) => snapshotFile(this.#home(id)),
      settled: ({ id }) => this.#synced(id),
      onError: this.#onError,
    })
  }

  async begin(
    id: string,
    below: readonly Layer[],
    { init = false, isDirect = false, ...mount }: BeginSnapshot = {},
  ): Promise<PendingSnapshot> {
    if (!ID.test(id)) throw badRequest(`invalid id of a snapshot: ${JSON.stringify(id)}`)
    if (this.#records.has(id) || this.#pending.has(id)) throw conflict(`the snapshot ${id} is there already`)
    this.#pending.add(id)
    try {
      const open = await this.#open(below, { init, mount: isDirect ? undefined : mount })
      return this.#pendingSnapshot(id, open)
    } catch (error) {
      this.#pending.delete(id)
      throw error
    }
  }

  async view(
    layers: readonly Layer[],
    options: Pick<BeginSnapshot, 'owners' | 'label'> = {},
  ): Promise<StackView> {
    if (layers.length === 0) return { root: this.#emptyFolder(), [Symbol.asyncDispose]: async () => {} }
    const open = await this.#open(layers, { mount: { ...options, isReadOnly: true } })
    return {
      root: open.target ?? '',
      [Symbol.asyncDispose]: () => this.#discard(open),
    }
  }

  find(id: string): Layer | undefined {
    const record = this.#records.get(id)
    if (!record) return undefined
    if (record.sealed !== undefined) return this.#options.layers.present([record.sealed])[0]
    return layerOfSnapshot(this.#home(id), record)
  }

  async seal(id: string, options: SealOptions = {}): Promise<Layer> {
    for (let other = this.#sealing.get(id); other; other = this.#sealing.get(id)) {
      const layer = await other.catch(() => undefined)
      if (layer && !options.through) return layer
      options.signal?.throwIfAborted()
    }
    const work = this.#seal(id, options)
    this.#sealing.set(id, work)
    try {
      return await work
    } finally {
      this.#sealing.delete(id)
    }
  }

  archive(id: string, { epoch, signal }: { epoch?: number; signal?: AbortSignal } = {}): Readable {
    const task = packingOf(this.#found(id), epoch)
    const bytes = this.#options.pool.stream('packLayer', task, signal ? { signal } : {})
    return Readable.from(bytes, { objectMode: false })
  }

  async usage(id: string): Promise<UpperUsage> {
    const { key, size, diskBytes } = this.#found(id)
    // What was sealed counts its own.
    return { size, diskBytes: key === snapshotKey(id) ? diskBytes + ownBlocks(this.#home(id)) : diskBytes }
  }

  async list(): Promise<string[]> {
    return [...this.#records.keys()].filter(id => this.find(id) !== undefined)
  }

  sealed(): Set<Digest> {
    return new Set([...this.#records.values()].flatMap(({ sealed }) => sealed ?? []))
  }

  mountedWith(key: Digest): string[] {
    const sealed = [...this.#records.values()].filter(record => record.sealed === key)
    return [key, ...sealed.map(({ id }) => snapshotKey(id))].flatMap(one => this.#uses.users(one))
  }

  hold(layers: readonly Layer[]): Disposable {
    return this.#uses.hold(layers)
  }

  async remove(id: string): Promise<void> {
    await this.#sealing.get(id)?.catch(() => {})
    const record = this.#records.get(id)
    if (!record) return
    const layer = layerOfSnapshot(this.#home(id), record)
    this.#records.delete(id)
    this.#uses.discard(this.#home(id), snapshotKey(id))
    dropShortLink(this.#options.root, layer)
  }

  async recover(): Promise<void> {
    const { bootId, layers } = this.#options
    makeTreesFolder(this.#directory, 0o700)
    await this.#mounts.recover(this.#onError)
    recoverMappedDirectories(join(this.#options.execRoot, MAPPED))
    for (const name of readdirSync(this.#directory)) {
      const home = this.#home(name)
      const record = name.startsWith(UNFINISHED) ? undefined : trustedSnapshot(home, { bootId, layers })
      if (record) this.#records.set(name, record)
      else this.#trash.take(home)
    }
    this.#sync.add([...this.#records.values()].filter(({ unsynced }) => unsynced !== undefined))
    this.#trash.recover()
  }

  async idle(): Promise<void> {
    await this.#sync.idle()
    await this.#trash.idle()
  }

  /** Makes a folder over layers, and mounts it where told how. */
  async #open(
    below: readonly Layer[],
    { init: hasInit = false, mount }: { init?: boolean; mount: MountOptions | undefined },
  ): Promise<Open> {
    const stack = effectiveStack(below)
    const home = join(this.#directory, unfinishedName())
    const init = hasInit
      ? ensureInitLayer(this.#options.root, initLayerFor(stack.map(stackLayer), { isStep: true }))
      : undefined
    const open: Open = { home, stack, init, held: this.#uses.hold(stack), target: undefined }
    try {
      const layer = snapshotLayer(home)
      mkdirSync(home, { mode: 0o710 })
      mkdirSync(layer, { mode: 0o710 })
      await this.#snapshotter.prepare({ home: layer, layers: stack, init })
      failpoint('snapshots.prepared')
      if (mount) open.target = await this.#mounts.mount({ home: layer, layers: stack, init, ...mount })
      failpoint('snapshots.mounted')
      return open
    } catch (error) {
      await this.#discard(open)
      throw error
    }
  }

  /** Takes away what was open, with all that was written. */
  async #discard(open: Open): Promise<void> {
    using _held = open.held
    if (open.target !== undefined) await this.#mounts.unmount(open.target)
    open.target = undefined
    this.#trash.take(open.home)
  }

  #pendingSnapshot(id: string, open: Open): PendingSnapshot {
    const isMounted = open.target !== undefined
    const shows = isMounted || this.#snapshotter.kind === 'full'
    let isOpen = true
    return {
      id,
      root: open.target ?? join(snapshotLayer(open.home), UPPER),
      below: shows ? [] : open.stack.map(stackLayer),
      linked: this.#linkedIn(open.stack),
      commit: async options => {
        const layer = await this.#commit(id, open, options)
        isOpen = false
        return layer
      },
      [Symbol.asyncDispose]: async () => {
        if (!isOpen) return
        isOpen = false
        this.#pending.delete(id)
        await this.#discard(open)
      },
    }
  }

  /** Inodes that files of a stack share with files outside. */
  #linkedIn(stack: readonly Layer[]): Set<number> {
    const keys = new Set(stack.map(({ key }) => key))
    const records = [...this.#records.values()].filter(
      ({ id, sealed, linked }) => linked && keys.has(sealed ?? snapshotKey(id)),
    )
    return new Set(records.flatMap(({ linked }) => linked ?? []))
  }

  async #commit(
    id: string,
    open: Open,
    { linked = [], signal }: NonNullable<Parameters<PendingSnapshot['commit']>[0]> = {},
  ): Promise<Layer> {
    if (open.target !== undefined) await this.#mounts.unmount(open.target)
    open.target = undefined
    failpoint('snapshots.unmounted')
    const settled = await this.#settle(open, signal)
    const record: SnapshotRecord = {
      version: 1,
      id,
      ...settled,
      ...(linked.length > 0 ? { linked: [...linked] } : {}),
      unsynced: this.#options.bootId,
    }
    writeSnapshot(open.home, record)
    failpoint('snapshots.before-rename')
    renameSync(open.home, this.#home(id))
    this.#records.set(id, record)
    this.#pending.delete(id)
    open.held[Symbol.dispose]()
    this.#sync.add([record])
    failpoint('snapshots.committed')
    return layerOfSnapshot(this.#home(id), record)
  }

  /** Makes what was written a layer, and looks at it. */
  async #settle(
    { home, stack, init }: Open,
    signal: AbortSignal | undefined,
  ): Promise<Omit<SnapshotRecord, 'version' | 'id'>> {
    const { pool } = this.#options
    const layer = snapshotLayer(home)
    const isRecorded = this.#snapshotter.kind === 'full'
    const layers = [...stack.map(stackLayer), ...(init === undefined ? [] : [{ path: init }])]
    const task = { directory: contentDirectory(layer), layers }
    const options = signal ? { signal } : {}
    if (isRecorded) await pool.run('reduceCopy', { ...task, record: whiteoutFile(layer) }, options)
    else removeTree(join(layer, 'work'))
    const { root, ...rest }: SettledLayer = await pool.run('settleLayer', { ...task, isRecorded }, options)
    const given = rootOfStack(stack)
    const isSame = root.mode === given.mode && root.uid === given.uid && root.gid === given.gid
    return isSame ? rest : { ...rest, root }
  }

  async #seal(id: string, options: SealOptions): Promise<Layer> {
    const { pool, root, layers } = this.#options
    const known = this.#found(id)
    const record = this.#records.get(id)
    if (!record) throw internal(`the snapshot ${id} has no record`)
    const isSealed = record.sealed !== undefined
    if (isSealed && !options.through) return known
    const diffId = await digestArchive(pool, packingOf(known), options)
    if (isSealed && diffId === record.sealed) return known
    if (isSealed)
      throw internal(
        `the layer ${record.sealed} is not what it was: its archive has the digest ${diffId} now`,
      )
    failpoint('snapshots.hashed')
    const home = this.#home(id)
    const { sealed, layer } = await adoptSnapshot(layers, home, {
      ...{ record, diffId },
      discard: folder => this.#uses.discard(folder, snapshotKey(id)),
    })
    this.#records.set(id, sealed)
    this.#sync.add([sealed])
    dropShortLink(root, known)
    failpoint('snapshots.sealed')
    return layer
  }

  #found(id: string): Layer {
    const layer = this.find(id)
    if (!layer) throw notFound(`the snapshot ${id} does not exist`)
    return layer
  }

  #synced(id: string): SnapshotRecord | undefined {
    const record = this.#records.get(id)
    // One that is being sealed has a newer record on the disk, and comes again.
    if (!record || this.#sealing.has(id)) return undefined
    const { unsynced: _, ...synced } = record
    this.#records.set(id, synced)
    return synced
  }

  #emptyFolder(): string {
    const path = join(this.#options.root, 'empty')
    mkdirSync(path, { recursive: true, mode: 0o755 })
    return path
  }

  #home(id: string): string {
    return join(this.#directory, id)
  }
}

/** The store of snapshots. Call `recover` once, after the layer store's and before anything else. */
export const openSnapshotStore = (options: SnapshotStoreOptions): SnapshotStore =>
  new DirectorySnapshotStore(options)
