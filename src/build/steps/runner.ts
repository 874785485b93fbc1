import path from 'node:path'
import { abandonable } from '../../core/abort.ts'
import { internal, messageOf, notFound } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { RecentlyUsed } from '../../core/recentlyUsed.ts'
import type { Engine } from '../../engine/engine.ts'
import type { PullLine } from '../../engine/images/pullProgress.ts'
import { chainId, type Digest, digestOf } from '../../oci/digest.ts'
import { parseReference } from '../../oci/reference.ts'
import type { ImageSource } from '../../registry-client/types.ts'
import { stackLayer } from '../../store/layerRecord.ts'
import type { Layer, SnapshotStore } from '../../store/types.ts'
import type { BuildClient } from '../clients/types.ts'
import { relaxedLimits, type StepLimits } from '../frontend/limits.ts'
import type { FileOperation, SourceOperation, VertexDigest } from '../graph/types.ts'
import type { LentResult } from '../lending.ts'
import { wholeCopyAction } from '../plan/context.ts'
import type {
  BuildContext,
  ContentDigest,
  Identity,
  LayerRef,
  SeenInput,
  Selection,
  StepInput,
  StepReport,
  StepRunner,
  Tree,
  Work,
} from '../solver/types.ts'
import { contentDigest } from './content/contentDigest.ts'
import type { CacheMounts } from './exec/cacheMounts.ts'
import type { ContainerRequest } from './exec/containerRequest.ts'
import { runExec } from './exec/runExec.ts'
import { prepareContainer, type StepContainer } from './exec/stepContainer.ts'
import { type ExecTools, type LeftBehind, type StepClients, snapshotTree } from './exec/types.ts'
import { hasWildcards } from './file/glob.ts'
import { type FileInput, runFile } from './file/runFile.ts'
import { layersOf } from './image/layers.ts'
import { layoutOf } from './image/layout.ts'
import { imageOf, resolveImage } from './image/resolve.ts'
import { LocalFolders } from './localFolders.ts'
import { Parts } from './parts.ts'
import { RemoteSources } from './remote.ts'
import type { DownloadRecords } from './sources/downloadRecords.ts'
import type { GitOperation } from './sources/git.ts'

export interface RunnerOptions {
  engine: Engine
  snapshots: SnapshotStore
  cacheMounts: CacheMounts
  downloads: DownloadRecords
  /** Who asked for a build that is under way. */
  clientOf(build: BuildContext): BuildClient
  /** What its steps may have. */
  limitsOf(build: BuildContext): StepLimits
  /** A folder of a client that has layers of this reference. */
  clientCache(reference: string): ImageSource | undefined
  /** Layers that it needs until its end, whatever the cache has. */
  using(build: BuildContext, layers: readonly LayerRef[]): void
  /** A result that another build lends. Errors: `not-found`. */
  lent(id: string): LentResult
  /** What a step that failed has left, for a build that looks into it. */
  left(build: BuildContext, vertex: VertexDigest, left: LeftBehind): void
}

/** Paths of a content digest that are told, so that users can see which file changed. */
const explained = 10_000

const unknownSource = ({ kind }: { kind: string }): never => {
  throw internal(`nobody does a source of a build of the kind ${kind}`)
}

type Source<K extends SourceOperation['kind']> = Extract<SourceOperation, { kind: K }>

/** Does the steps of all builds: sources, processes, files. */
export class Runner implements StepRunner {
  readonly #options: RunnerOptions
  readonly #digests = new RecentlyUsed<Digest>(100_000)
  /** Of clients' folders, by their version and what is selected of them. */
  readonly #contents = new RecentlyUsed<ContentDigest>(8)
  readonly #folders: LocalFolders
  readonly #remote: RemoteSources

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#folders = new LocalFolders(options.clientOf)
    this.#remote = new RemoteSources({
      snapshots: options.snapshots,
      registries: options.engine.registries,
      records: options.downloads,
      root: path.join(options.engine.settings.dataRoot, 'build', 'fetching'),
      clientsOf: work => this.#clients(work),
    })
  }

  /** A build has ended: nothing of it is kept that no record has. */
  async ended(build: BuildContext): Promise<void> {
    await this.#remote.ended(build)
  }

  /** Seconds since the epoch, of what a reference means now. Errors: those of fetching. */
  async commitTime(operation: GitOperation, build: BuildContext, signal: AbortSignal): Promise<number> {
    return await this.#remote.commitTime(operation, { report: silent, signal, builds: () => [build] })
  }

  async identify(work: Work): Promise<Identity> {
    const { operation } = work.vertex
    switch (operation.kind) {
      case 'git':
      case 'http':
        return { key: await this.#remote.identify(operation, work) }
      case 'result':
        return await this.#borrow(operation.id, work)
      case 'image':
        return await this.#image(operation, work)
      case 'oci-layout':
        return await this.#layout(operation, work)
      default:
        return unknownSource(operation)
    }
  }

  async #image(operation: Source<'image'>, { vertex, builds, signal }: Work): Promise<Identity> {
    const { tree } = await resolveImage(this.#options.engine, {
      reference: operation.reference,
      platform: vertex.platform,
      resolve: operation.resolve,
      credentials: (domain, asking) => this.#credentials(builds(), domain, asking),
      signal,
    })
    return await this.#identityOf(tree.layers.slice(0, operation.layerLimit ?? tree.layers.length), builds())
  }

  /** All of it is fetched now: the client is there for this build only. */
  async #layout(
    operation: Source<'oci-layout'>,
    { vertex, report, builds, signal }: Work,
  ): Promise<Identity> {
    const client = builds()
      .map(build => this.#options.clientOf(build))
      .find(({ session }) => session === operation.session)
    if (!client)
      throw notFound(`the session ${operation.session} that has the OCI layout is none of this build`)
    const source = layoutOf(client, operation.store)
    const name = parseReference(operation.reference)
    const { tree } = await imageOf(source, { platform: vertex.platform, signal }, name)
    const identity = await this.#identityOf(tree.layers, builds())
    const { engine, snapshots } = this.#options
    const parts = new Parts(report)
    const credentials = async (): Promise<undefined> => undefined
    const told = (line: PullLine): void => parts.pulled(line)
    await layersOf({ engine, snapshots, source, credentials, report: told, signal }, tree)
    return identity
  }

  async #identityOf(layers: readonly LayerRef[], builds: readonly BuildContext[]): Promise<Identity> {
    for (const build of builds) this.#options.using(build, layers)
    const diffIds = layers.map(layer =>
      layer.kind === 'image' ? layer.diffId : digestOf(Buffer.from(layer.id)),
    )
    return {
      key: layers.length > 0 ? chainId(diffIds) : digestOf(Buffer.alloc(0)),
      tree: { layers },
      atHand: (await this.#options.engine.layers.find(diffIds)) !== undefined,
    }
  }

  /** What another build lends: its layers are needed by these, too. */
  async #borrow(id: string, { builds, signal }: Work): Promise<Identity> {
    const { tree, mark } = await abandonable(signal, this.#options.lent(id).made())
    for (const build of builds()) this.#options.using(build, tree.layers)
    return {
      tree,
      atHand: true,
      ...(mark.chain ? { key: mark.chain } : {}),
      ...(mark.record ? { record: mark.record } : {}),
    }
  }

  async run(work: Work, inputs: readonly StepInput[]): Promise<Tree[]> {
    const { operation } = work.vertex
    switch (operation.kind) {
      case 'exec':
        return await this.#exec(work, inputs)
      case 'file':
        return [await this.#files(operation, { inputs, work })]
      case 'merge':
        return [{ layers: inputs.flatMap(({ tree }) => tree.layers) }]
      case 'local':
        return [await this.#folders.take(operation, work)]
      case 'git':
      case 'http':
        return [await this.#remote.run(operation, work)]
      default:
        return unknownSource(operation)
    }
  }

  async contentDigest(
    { tree, report, builds }: SeenInput,
    selection: Selection,
    signal: AbortSignal,
  ): Promise<ContentDigest> {
    const folder = this.#folders.find(tree)
    const place = folder && JSON.stringify([folder.version, selection])
    const known = place === undefined ? undefined : this.#contents.get(place)
    if (known) return known
    const layers = await this.#layers(tree, { report, signal, builds })
    using _held = this.#options.snapshots.hold(layers)
    const { digest, paths, isCut } = await contentDigest({
      pool: this.#options.engine.pool,
      layers: layers.map(stackLayer),
      selection,
      ref: refOf(tree),
      digests: this.#digests,
      explained,
      signal,
      ...(folder ? { known: path => folder.digests.get(path) } : {}),
    })
    const folderOfAll = selection.wildcards && hasWildcards(selection.path) ? '' : selection.path
    const files = paths.map(([below, own]) => [path.posix.join('/', folderOfAll, below), own] as const)
    const found: ContentDigest = isCut ? { digest } : { digest, files }
    if (place !== undefined) this.#contents.set(place, found)
    return found
  }

  /** A copy of a client's folder, of which every file is the same one on disk. */
  async keep(tree: Tree, signal: AbortSignal): Promise<Tree> {
    const report = silent
    const operation: FileOperation = { kind: 'file', base: undefined, actions: [wholeCopyAction] }
    return await this.#files(operation, {
      inputs: [{ tree, report }],
      work: { report, signal, builds: () => [] },
    })
  }

  async isWhole({ layers }: Tree): Promise<boolean> {
    return layers.every(
      layer => layer.kind === 'image' || this.#options.snapshots.find(layer.id) !== undefined,
    )
  }

  async discard(layers: readonly LayerRef[]): Promise<void> {
    for (const layer of layers) {
      if (layer.kind !== 'snapshot') continue
      try {
        if (!(await this.#folders.discard(layer.id))) await this.#options.snapshots.remove(layer.id)
      } catch (error) {
        this.#options.engine.log.error('what a build step made could not be removed', {
          error: messageOf(error),
        })
      }
    }
  }

  /** Mountable; what is not here is fetched. */
  async #layers(
    tree: Tree,
    { report, signal, builds }: Pick<Work, 'report' | 'signal' | 'builds'>,
  ): Promise<Layer[]> {
    const folder = this.#folders.find(tree)
    if (folder) return [folder.layer]
    const { engine, snapshots } = this.#options
    const parts = new Parts(report)
    return await layersOf(
      {
        engine,
        snapshots,
        credentials: (domain, asking) => this.#credentials(builds(), domain, asking),
        clientCache: reference => this.#options.clientCache(reference),
        report: line => parts.pulled(line),
        signal,
      },
      tree,
    )
  }

  async #credentials(builds: readonly BuildContext[], domain: string, signal: AbortSignal) {
    for (const build of builds) {
      const found = await this.#options.clientOf(build).credentials(domain, signal)
      if (found) return found
    }
    return undefined
  }

  #clients(work: Pick<Work, 'builds'>): StepClients {
    const first = async <T>(ask: (client: BuildClient) => Promise<T | undefined>): Promise<T | undefined> => {
      for (const build of work.builds()) {
        const found = await ask(this.#options.clientOf(build))
        if (found !== undefined) return found
      }
      return undefined
    }
    return {
      secret: async (id, signal) => await first(client => client.secret(id, signal)),
      agent: async (id, signal) => await first(client => client.agent(id, signal)),
    }
  }

  #tools(reportOf: (tree: Tree) => StepReport, builds: Work['builds']): ExecTools {
    const { engine, snapshots, cacheMounts } = this.#options
    return {
      ...{ engine, snapshots, cacheMounts },
      layersOf: async (tree, signal) => await this.#layers(tree, { signal, report: reportOf(tree), builds }),
    }
  }

  /** A container in what a build made; `asking` gives it up while it is prepared. Errors: as `prepareContainer`. */
  async container(
    build: BuildContext,
    request: ContainerRequest,
    asking: AbortSignal,
  ): Promise<StepContainer> {
    const builds = (): BuildContext[] => [build]
    return await prepareContainer(
      this.#tools(() => silent, builds),
      request,
      {
        clients: this.#clients({ builds }),
        limits: this.#options.limitsOf(build),
        signal: build.signal,
        asking,
      },
    )
  }

  async #exec(work: Work, inputs: readonly StepInput[]): Promise<Tree[]> {
    const { operation, platform } = work.vertex
    if (operation.kind !== 'exec') throw internal('no exec operation')
    const reports = new Map(inputs.map(({ tree, report }) => [tree.layers, report]))
    const looking = work.builds().find(({ isLookedInto }) => isLookedInto)
    return await runExec(
      this.#tools(({ layers }) => reports.get(layers) ?? work.report, work.builds),
      {
        ...{ operation, platform },
        inputs: inputs.map(({ tree }) => tree),
        clients: this.#clients(work),
        limits: relaxedLimits(work.builds().map(build => this.#options.limitsOf(build))),
        report: work.report,
        signal: work.signal,
        ...(looking ? { left: left => this.#options.left(looking, work.vertex.digest, left) } : {}),
      },
    )
  }

  async #files(
    operation: FileOperation,
    { inputs, work }: { inputs: readonly StepInput[]; work: Pick<Work, 'report' | 'signal' | 'builds'> },
  ): Promise<Tree> {
    const { engine, snapshots } = this.#options
    const base = operation.base === undefined ? undefined : inputs[operation.base]?.tree
    const id = newId()
    const stacks = await Promise.all(
      inputs.map(({ tree, report }) =>
        this.#layers(tree, { report, signal: work.signal, builds: work.builds }),
      ),
    )
    using _held = this.#options.snapshots.hold(stacks.flat())
    const below = operation.base === undefined ? [] : (stacks[operation.base] ?? [])
    const given: FileInput[] = stacks.map((layers, index) => ({
      layers: layers.map(stackLayer),
      isShareable: this.#folders.find(treeOf(inputs, index)) !== undefined,
      ref: refOf(treeOf(inputs, index)),
    }))
    await runFile(operation, {
      pool: engine.pool,
      inputs: given,
      begin: async ({ isDirect }) => await snapshots.begin(id, below, { isDirect }),
      signal: work.signal,
    })
    return snapshotTree(base?.layers ?? [], id)
  }
}

const treeOf = (inputs: readonly StepInput[], index: number): Tree => inputs[index]?.tree ?? { layers: [] }

const refOf = ({ layers }: Tree): string => {
  const last = layers.at(-1)
  if (!last) return 'scratch'
  return last.kind === 'snapshot' ? last.id : last.diffId.slice('sha256:'.length)
}

const silent: StepReport = { output: () => {}, status: () => {}, warning: () => {} }
