import { availableParallelism } from 'node:os'
import path from 'node:path'
import { BerthError, internal, messageOf } from '../core/errors.ts'
import type { CacheItem, Engine, Keeper } from '../engine/engine.ts'
import type { Digest } from '../oci/digest.ts'
import type { Credentials, ImageSource } from '../registry-client/types.ts'
import type { Trash } from '../store/trash.ts'
import type { SnapshotStore } from '../store/types.ts'
import { Build, type BuildRequest } from './build.ts'
import { Adopted, isAtHand } from './cacheTransfer/adopted.ts'
import { archiveClient } from './clients/archiveClient.ts'
import { ClientFolders } from './clients/folders.ts'
import { sessionClient } from './clients/sessionClient.ts'
import type { BuildClient } from './clients/types.ts'
import type { Entitlement } from './entitlements.ts'
import { BuildHistory } from './history/history.ts'
import { defaultLimits, type HistoryLimits } from './history/limits.ts'
import { Lending } from './lending.ts'
import type { Session } from './session/session.ts'
import { Sessions } from './session/sessions.ts'
import { Cache } from './solver/cache.ts'
import { createSolver } from './solver/solver.ts'
import type { BuildContext, LayerRef, Solver } from './solver/types.ts'
import { CacheMounts } from './steps/exec/cacheMounts.ts'
import type { ContainerRequest } from './steps/exec/containerRequest.ts'
import type { StepContainer } from './steps/exec/stepContainer.ts'
import { imageStacks } from './steps/image/layers.ts'
import { Runner } from './steps/runner.ts'
import { DownloadRecords } from './steps/sources/downloadRecords.ts'
import type { GitOperation } from './steps/sources/git.ts'
import { Upkeep } from './upkeep.ts'

export interface BuilderParts {
  engine: Engine
  snapshots: SnapshotStore
  trash: Trash
  /** `builder.gc` of daemon.json. */
  gc?: unknown
  /** What clients may ask for; as with dockerd, the host's network unless told. */
  entitlements?: ReadonlySet<Entitlement>
  /** `builder.history` of daemon.json; BuildKit's limits unless told. */
  history?: HistoryLimits
}

/** What is there from one daemon to the next. */
interface Kept {
  cache: Cache
  cacheMounts: CacheMounts
  downloads: DownloadRecords
  history: BuildHistory
}

/** All builds of a daemon, and what they share: the solver, its cache, the clients' sessions and folders. */
export class Builder implements Keeper, AsyncDisposable {
  readonly engine: Engine
  readonly snapshots: SnapshotStore
  readonly #trash: Trash
  readonly sessions = new Sessions()
  readonly folders: ClientFolders
  readonly cache: Cache
  readonly upkeep: Upkeep
  readonly history: BuildHistory
  readonly cacheMounts: CacheMounts
  readonly solver: Solver
  readonly entitlements: ReadonlySet<Entitlement>
  readonly lending = new Lending()
  readonly #runner: Runner
  readonly #adopted: Adopted
  readonly #builds = new Map<string, Build>()
  readonly #containers = new Set<StepContainer>()

  private constructor(parts: BuilderParts, { cache, cacheMounts, downloads, history }: Kept) {
    this.engine = parts.engine
    this.snapshots = parts.snapshots
    this.#trash = parts.trash
    this.cache = cache
    this.cacheMounts = cacheMounts
    this.history = history
    this.entitlements = parts.entitlements ?? new Set(['network.host'])
    this.folders = new ClientFolders(
      path.join(parts.engine.settings.dataRoot, 'build', 'contexts'),
      parts.trash,
    )
    const { engine, snapshots, gc } = parts
    this.upkeep = new Upkeep({ engine, snapshots, cache, cacheMounts, folders: this.folders, gc })
    this.#runner = new Runner({
      engine: parts.engine,
      snapshots: parts.snapshots,
      cacheMounts,
      downloads,
      clientOf: build => this.#clientOf(build),
      limitsOf: build => this.#builds.get(build.id)?.limits ?? {},
      clientCache: reference => this.clientCache(reference),
      using: (build, layers) => this.#builds.get(build.id)?.use(layers),
      lent: id => this.lending.get(id),
      left: (build, vertex, left) => {
        const looking = this.#builds.get(build.id)
        if (looking) looking.keepLeft(vertex, left)
        else this.#quietly('what a failed build step left could not be removed', this.discard(left.own))
      },
    })
    this.#adopted = new Adopted({ engine, cache })
    this.solver = createSolver({
      runner: this.#runner,
      cache,
      adopted: ids => this.#adopted.note(ids),
      // Steps wait for disks and networks, too.
      width: Math.max(4, 2 * availableParallelism()),
      recorded: layers =>
        this.#quietly('the build cache could not be kept within its cap', this.upkeep.recorded(layers)),
    })
  }

  /** Takes back what is there; once, when snapshots and layers are recovered. */
  static async open(parts: BuilderParts): Promise<Builder> {
    const { engine, snapshots, trash } = parts
    const cacheMounts = new CacheMounts({
      root: path.join(engine.settings.dataRoot, 'build', 'cache-mounts'),
      database: engine.database,
      trash,
    })
    // Of builds that a crash ended.
    for (const name of ['uploads', 'fetching']) trash.take(path.join(engine.settings.dataRoot, 'build', name))
    await cacheMounts.recover()
    const cache = await Cache.open(
      engine.database,
      async ({ tree }) =>
        tree.layers.every(layer => layer.kind === 'image' || snapshots.find(layer.id) !== undefined) &&
        (await isAtHand(engine, tree)),
    )
    for (const id of await snapshots.list()) if (!cache.hasSnapshot(id)) await snapshots.remove(id)
    const history = await BuildHistory.open({
      root: path.join(engine.settings.dataRoot, 'build', 'history'),
      limits: parts.history ?? defaultLimits,
      onError: error =>
        engine.log.error('the record of a build could not be kept', { error: messageOf(error) }),
    })
    const downloads = await DownloadRecords.open(engine.database)
    return new Builder(parts, { cache, cacheMounts, downloads, history })
  }

  /** Begins a build. Errors: `stopping`. */
  begin(request: Omit<BuildRequest, 'builder'>): Build {
    if (this.engine.stopping) throw new BerthError('stopping', 503, 'the daemon is shutting down')
    const build = new Build({ ...request, builder: this })
    this.#builds.set(build.id, build)
    return build
  }

  /** Who sends an archive, unpacked for one build. Errors: as `archiveClient`. */
  unpack(
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    credentials: (domain: string) => Credentials | undefined = () => undefined,
  ): Promise<BuildClient> {
    const { pool, settings } = this.engine
    const root = path.join(settings.dataRoot, 'build', 'uploads')
    return archiveClient({ pool, root, trash: this.#trash, source, signal, credentials })
  }

  /** Who has a session. */
  client(session: Session): BuildClient {
    return sessionClient(session, {
      folders: this.folders,
      unpack: (source, signal) => this.unpack(source, signal),
    })
  }

  /** Seconds since the epoch. Errors: those of fetching. */
  commitTime(operation: GitOperation, build: BuildContext, signal: AbortSignal): Promise<number> {
    return this.#runner.commitTime(operation, build, signal)
  }

  /** A container in what a build made. Errors: as `prepareContainer`. */
  async container(
    build: BuildContext,
    request: ContainerRequest,
    asking: AbortSignal,
  ): Promise<StepContainer> {
    const container = await this.#runner.container(build, request, asking)
    this.#containers.add(container)
    const forget = (): void => void this.#containers.delete(container)
    void container.gone.then(forget, forget)
    return container
  }

  /** Layers that no record has. */
  async discard(layers: readonly LayerRef[]): Promise<void> {
    await this.#runner.discard(layers)
  }

  find(id: string): Build | undefined {
    return this.#builds.get(id)
  }

  /** Nobody waits for it any more. */
  end(build: Build): void {
    if (this.#builds.get(build.id) === build) this.#builds.delete(build.id)
    this.#quietly('what a build left could not be removed', this.#runner.ended(build))
    this.#quietly('what a build imported could not be let go', this.#adopted.sweep())
    this.#quietly('the build cache could not be cleaned up', this.upkeep.collect())
  }

  items(): Promise<CacheItem[]> {
    return this.upkeep.items()
  }

  *blobs(): Iterable<Digest> {
    for (const stack of this.#stacks())
      for (const layer of stack) if (layer.kind === 'image') yield layer.blob
  }

  *layers(): Iterable<Digest> {
    yield* this.snapshots.sealed()
    const seen = new Set<string>()
    for (const stack of [...this.#stacks()].flatMap(imageStacks)) {
      const diffIds = stack.map(({ diffId }) => diffId)
      if (seen.has(diffIds.join())) continue
      seen.add(diffIds.join())
      for (const layer of this.engine.layers.present(diffIds)) if (layer) yield layer.key
    }
  }

  mountedWith(key: Digest): string[] {
    return this.snapshots.mountedWith(key)
  }

  *#stacks(): Iterable<readonly LayerRef[]> {
    for (const { tree } of this.cache.all()) yield tree.layers
    for (const build of this.#builds.values()) yield* build.used
  }

  /** Of the builds under way. */
  clientCache(reference: string): ImageSource | undefined {
    for (const { clientCaches } of this.#builds.values()) {
      const found = clientCaches.get(reference)
      if (found) return found
    }
    return undefined
  }

  #clientOf(build: BuildContext): BuildClient {
    const found = this.#builds.get(build.id)
    if (!found) throw internal(`the build ${build.id} has ended`)
    return found.client
  }

  #quietly(what: string, work: Promise<unknown>): void {
    work.catch((error: unknown) => this.engine.log.error(what, { error: messageOf(error) }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const build of this.#builds.values()) build.cancel('the daemon is shutting down')
    await Promise.all([...this.#containers].map(container => container[Symbol.asyncDispose]()))
    await this.sessions[Symbol.asyncDispose]()
    await this.folders[Symbol.asyncDispose]()
    await this.cache.idle()
  }
}
