import { openSync } from 'node:fs'
import { nowNanos } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { hostPlatform } from '../engine/images/reach.ts'
import type { ImageRecord } from '../engine/images/types.ts'
import type { Operation } from '../engine/operations.ts'
import { owned } from '../linux/files.ts'
import { digestOf } from '../oci/digest.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { ImageSource } from '../registry-client/types.ts'
import type { Layer } from '../store/types.ts'
import type { Builder } from './builder.ts'
import { readContained } from './clients/readContained.ts'
import type { BuildClient } from './clients/types.ts'
import type { Warning } from './dockerfile/types.ts'
import { checkEntitlements, type Entitlement } from './entitlements.ts'
import { explaining, wantsExplanation } from './explain.ts'
import { exportImage } from './export/image.ts'
import { squashImage } from './export/squash.ts'
import type { ExportStep, InlineCache } from './export/types.ts'
import type { FrontendAttributes } from './frontend/attributes.ts'
import {
  type DockerfileSource,
  type FrontendHost,
  type PlannedBuild,
  planPlatforms,
} from './frontend/frontend.ts'
import type { StepLimits } from './frontend/limits.ts'
import type { Inputs, ReadResult } from './frontend/remoteContext.ts'
import { answerSubrequest } from './frontend/subrequests.ts'
import type { Graph, SourceOperation, Vertex, VertexDigest } from './graph/types.ts'
import { withoutPassword } from './plan/gitUrl.ts'
import type { Plan, ResolvedImage } from './plan/types.ts'
import { type BuiltPlatform, type PlannedPlatform, PlannedResult, type SolveOptions } from './result.ts'
import type { BuildContext, BuildEvent, LayerRef, Solution, Tree } from './solver/types.ts'
import { dateOfDownload, downloadGraph } from './sourceDate.ts'
import { PartsInTurn } from './stepParts.ts'
import type { ContainerRequest } from './steps/exec/containerRequest.ts'
import { checkedLimits } from './steps/exec/record.ts'
import type { StepContainer } from './steps/exec/stepContainer.ts'
import type { LeftBehind } from './steps/exec/types.ts'
import { type LayerNeeds, layersOf, withBlobs } from './steps/image/layers.ts'
import { layoutOf } from './steps/image/layout.ts'
import { imageOf, resolveImage } from './steps/image/resolve.ts'

export interface BuildRequest {
  builder: Builder
  /** Of the client's making. */
  id: string
  client: BuildClient
  operation: Operation
  /** What its steps may do beyond their sandbox. */
  granted: ReadonlySet<Entitlement>
  /** Hears of all that it does; never waits, never throws. */
  tell(event: BuildEvent): void
  /** What checks found. */
  warn(warning: BuildWarning): void
}

export interface BuildWarning extends Warning {
  vertex: VertexDigest
  source: DockerfileSource
}

type ExportedPlatform = Pick<BuiltPlatform, 'tree'> & {
  plan: Pick<Plan, 'image' | 'baseImage' | 'epoch'>
  inlineCache?: InlineCache | undefined
}

/** Of this build alone: a client may show several at once. */
const internalVertex = (build: string, name: string): Vertex => ({
  digest: digestOf(Buffer.from(`${build} ${name}`)) as VertexDigest,
  inputs: [],
  operation: { kind: 'merge' },
  platform: { os: 'linux', architecture: '' },
  step: { name },
})

/** One build: what is planned, solved and exported for one request, and what is told of it meanwhile. */
export class Build implements AsyncDisposable {
  readonly id: string
  readonly client: BuildClient
  readonly #builder: Builder
  readonly #operation: Operation
  /** One for all that it solves: it is told of each vertex once. */
  readonly #context: BuildContext
  readonly #granted: BuildRequest['granted']
  #tell: BuildRequest['tell']
  readonly #warn: BuildRequest['warn']
  readonly #solutions: Solution[] = []
  readonly #used: (readonly LayerRef[])[] = []
  readonly #left: { vertex: VertexDigest; left: LeftBehind }[] = []
  #limits: StepLimits = {}

  constructor({ builder, id, client, operation, granted, tell, warn }: BuildRequest) {
    this.#builder = builder
    this.id = id
    this.client = client
    this.#operation = operation
    this.#context = { id, signal: operation.signal }
    this.#granted = granted
    this.#tell = tell
    this.#warn = warn
  }

  /** Folders of the client with layers of caches, by the references of those. */
  readonly clientCaches = new Map<string, ImageSource>()

  get signal(): AbortSignal {
    return this.#operation.signal
  }

  /** Stacks of images that it needs, and that no record of the cache may have yet. */
  get used(): Iterable<readonly LayerRef[]> {
    return this.#used
  }

  /** What its steps may have; known when it is planned. */
  get limits(): StepLimits {
    return this.#limits
  }

  use(layers: readonly LayerRef[]): void {
    this.#used.push(layers)
  }

  /** From now on what a failed step leaves is kept until this is disposed of. */
  lookInto(): void {
    this.#context.isLookedInto = true
  }

  keepLeft(vertex: VertexDigest, left: LeftBehind): void {
    this.#left.push({ vertex, left })
  }

  /** What the results of a step were when it failed; undefined where nothing was kept. */
  leftBy(vertex: VertexDigest): readonly Tree[] | undefined {
    return this.#left.findLast(one => one.vertex === vertex)?.left.trees
  }

  cancel(by: string): void {
    this.#operation.cancel(by)
  }

  /** Does something that the user sees as a step. */
  async step<T>(name: string, work: (vertex: Vertex) => Promise<T>): Promise<T> {
    const vertex = internalVertex(this.id, name)
    const startedAt = nowNanos()
    this.#tell({ kind: 'vertex', vertex, state: 'running', startedAt })
    const ended = (state: 'done' | 'failed', error?: string): void =>
      this.#tell({
        ...{ kind: 'vertex', vertex, state, startedAt, completedAt: nowNanos() },
        ...(error === undefined ? {} : { error }),
      })
    try {
      const result = await work(vertex)
      ended('done')
      return result
    } catch (error) {
      ended('failed', messageOf(error))
      throw error
    }
  }

  #host(inputs: Inputs): FrontendHost {
    const { client, signal } = this
    return {
      session: client.session,
      inputs,
      readFiles: async ({ folder, paths, step }) => {
        const files = await this.step(step, async () => await client.readFiles(folder, paths, signal))
        return new Map([...files].map(([name, bytes]) => [name, bytes.toString('utf8')]))
      },
      readResult: async (graph, paths, options) => await this.#readResult(graph, paths, options),
      outside: {
        image: async ({ reference, platform, resolve, step }) =>
          await this.step(step, async () => {
            const { config, digest } = await resolveImage(this.#builder.engine, {
              ...{ reference, platform, resolve, signal },
              credentials: async (domain, asking) => await client.credentials(domain, asking),
            })
            return { config, digest }
          }),
        layout: async ({ step, ...asked }) =>
          await this.step(step, async () => await this.layoutImage(asked)),
        ignoreFile: async ({ name, step }) => {
          const files = await this.step(
            step,
            async () => await client.readFiles(name, ['.dockerignore'], signal),
          )
          return files.get('.dockerignore')?.toString('utf8') ?? ''
        },
        sourceDate: async operation => await this.#sourceDate(operation),
      },
      notice: text => void this.step(`[internal] ${text}`, async () => {}),
    }
  }

  async #sourceDate(operation: SourceOperation): Promise<number | undefined> {
    if (operation.kind === 'http')
      return await this.look(await this.#result(downloadGraph(operation)), dateOfDownload)
    if (operation.kind !== 'git') return undefined
    const step = `[internal] load the time of ${withoutPassword(operation.remote)}`
    return await this.step(
      step,
      async () => await this.#builder.commitTime(operation, this.#context, this.signal),
    )
  }

  /** Reads the Dockerfile and plans all platforms. Errors: `FrontendError`, `bad-request` for limits, those of clients and registries. */
  async plan(attributes: FrontendAttributes, inputs: Inputs = {}): Promise<PlannedBuild> {
    // Before anything runs; each step is checked again, with what it says itself.
    checkedLimits(this.#builder.engine, attributes.limits, attributes)
    this.#limits = attributes.limits
    this.#operation.at('reading the Dockerfile')
    if (wantsExplanation(attributes.arguments)) this.#tell = explaining(this.#tell)
    const planned = await planPlatforms(attributes, this.#host(inputs))
    const { source } = planned
    const step = `[internal] load build definition from ${source.fileName}`
    const { digest: vertex } = internalVertex(this.id, step)
    for (const { plan } of planned.plans)
      for (const warning of plan.warnings) this.#warn({ ...warning, vertex, source })
    return planned
  }

  /** Answers what is asked of a Dockerfile instead of a build. Errors: those of `answerSubrequest`. */
  async answer(
    subrequest: string,
    attributes: FrontendAttributes,
    inputs: Inputs = {},
  ): Promise<Record<string, string>> {
    this.#operation.at('reading the Dockerfile')
    return await answerSubrequest(subrequest, attributes, this.#host(inputs))
  }

  /** What a plan comes to once it is needed, held from then on until this build is disposed of. Errors: `bad-request` for what is not granted. */
  result(planned: PlannedPlatform, options: SolveOptions = {}): PlannedResult {
    checkEntitlements(planned.plan.graph, this.#granted)
    return new PlannedResult(planned, async ({ platform, plan }) => {
      this.#operation.at('running its steps')
      return { platform, plan, ...(await this.#result(plan.graph, options)) }
    })
  }

  /** Of a graph of the client’s own, whose image says no more than its platform. Errors: as `result`. */
  resultOfGraph(graph: Graph): PlannedResult {
    const { platform = hostPlatform } = (graph.result && graph.vertices.get(graph.result.vertex)) ?? {}
    const image = { ...platform, rootfs: { type: 'layers' as const, diff_ids: [] } }
    return this.result({ platform: formatPlatform(platform), plan: { graph, image } })
  }

  /** Of what is fetched to know what to build; it stays until this is disposed of. */
  async #readResult(...[graph, paths, options]: Parameters<ReadResult>): Promise<Map<string, Buffer>> {
    const { tree } = await this.#result(graph)
    await using view = await this.#builder.snapshots.view(await this.#layersOf(tree))
    using root = owned(openSync(view.root, 'r'))
    return new Map(
      paths.flatMap(name => {
        const bytes = readContained(root.fd, name, options)
        return bytes ? [[name, bytes] as const] : []
      }),
    )
  }

  /** Held until this build is disposed of. */
  async #result(
    graph: Graph,
    { imported, holdsAll = false }: SolveOptions = {},
  ): Promise<Pick<BuiltPlatform, 'tree' | 'mark' | 'results'>> {
    const solution = await this.#builder.solver.solve({
      ...{ build: this.#context, graph, holdsAll, tell: this.#tell },
      ...(imported ? { imported } : {}),
    })
    this.#solutions.push(solution)
    const [tree = { layers: [] }] = solution.trees
    return { tree, mark: solution.marks[0] ?? {}, results: () => solution.results() }
  }

  /** What an image of an OCI layout of the client is. Errors: those of the client; `no-such-platform`. */
  async layoutImage(asked: {
    store: string
    reference: string
    platform: Platform
  }): Promise<Required<ResolvedImage>> {
    const { store, reference, platform } = asked
    const source = layoutOf(this.client, store)
    const found = await imageOf(source, { platform, signal: this.signal }, parseReference(reference))
    return { config: found.config, digest: found.digest }
  }

  get #needs(): LayerNeeds {
    const { engine, snapshots } = this.#builder
    const { signal, client } = this
    return {
      ...{ engine, snapshots, signal, report: () => {} },
      credentials: async (domain, asking) => await client.credentials(domain, asking),
      clientCache: reference => this.#builder.clientCache(reference),
    }
  }

  #layersOf(tree: Tree): Promise<Layer[]> {
    return layersOf(this.#needs, tree)
  }

  /** Mounts a result that this build holds, for reading. */
  async look<T>({ tree }: Pick<BuiltPlatform, 'tree'>, work: (root: string) => T | Promise<T>): Promise<T> {
    await using view = await this.#builder.snapshots.view(await this.#layersOf(tree))
    return await work(view.root)
  }

  /** Over results that this build holds; the caller disposes of it before this is. Errors: as `prepareContainer`. */
  container(request: Omit<ContainerRequest, 'granted'>, asking: AbortSignal): Promise<StepContainer> {
    return this.#builder.container(this.#context, { ...request, granted: this.#granted }, asking)
  }

  /** Does an export as a step of this name. */
  async export<T>(name: string, work: (step: ExportStep) => Promise<T>): Promise<T> {
    const { engine, snapshots, cache } = this.#builder
    this.#operation.at(name)
    return await this.step(name, async vertex => {
      const parts = new PartsInTurn(this.#tell, vertex)
      const result = await work({
        ...{ engine, snapshots, operation: this.#operation },
        layersOf: tree => this.#layersOf(tree),
        bring: tree => withBlobs(this.#needs, tree),
        originOf: id => originOf(cache.all(), id),
        say: text => parts.next(text),
      })
      parts.end()
      return result
    })
  }

  /** Into the engine's store. */
  async exportImage(built: ExportedPlatform, names: readonly Reference[]): Promise<ImageRecord> {
    const { plan, tree, inlineCache } = built
    return await this.export(
      'exporting to image',
      async step => await exportImage({ ...step, plan, tree, inlineCache, names }),
    )
  }

  /** As one layer over its base image; beside that which `exportImage` gave. */
  async squashImage(
    image: ImageRecord,
    { plan, tree }: ExportedPlatform,
    names: readonly Reference[],
  ): Promise<ImageRecord> {
    return await this.export(
      'squashing its layers',
      async step => await squashImage(step, { image, plan, tree, names }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { left } of this.#left.splice(0)) await this.#builder.discard(left.own)
    for (const solution of this.#solutions.splice(0)) await solution[Symbol.asyncDispose]()
    this.client[Symbol.dispose]()
    this.#builder.end(this)
  }
}

type Records = ReturnType<Builder['cache']['all']>

const originOf = (records: Records, snapshot: string): { created: string; description: string } => {
  for (const { tree, createdAt, description } of records) {
    const top = tree.layers.at(-1)
    if (top?.kind === 'snapshot' && top.id === snapshot)
      return { created: new Date(createdAt).toISOString(), description }
  }
  return { created: new Date().toISOString(), description: '' }
}
