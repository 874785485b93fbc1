import type { Build as EngineBuild } from '../../build/build.ts'
import type { Builder as BuildEngine } from '../../build/builder.ts'
import { exportCaches } from '../../build/cacheTransfer/exportCaches.ts'
import { importCaches } from '../../build/cacheTransfer/importCaches.ts'
import { withInlineCaches } from '../../build/cacheTransfer/inline.ts'
import { readCacheExport, readCacheSources } from '../../build/cacheTransfer/options.ts'
import type { CacheExport } from '../../build/cacheTransfer/types.ts'
import { readEntitlements } from '../../build/entitlements.ts'
import { readNames } from '../../build/export/options.ts'
import {
  type FilePart,
  type ResultEntry,
  readResultDirectory,
  readResultFile,
  statResultFile,
} from '../../build/export/resultFiles.ts'
import type { BuildOutcome, Told } from '../../build/export/types.ts'
import { type FrontendAttributes, readAttributes } from '../../build/frontend/attributes.ts'
import { type DefinitionHost, readDefinition } from '../../build/frontend/definition.ts'
import { readInputs } from '../../build/frontend/inputs.ts'
import type { Inputs } from '../../build/frontend/remoteContext.ts'
import type { Graph } from '../../build/graph/types.ts'
import type { PlannedResult } from '../../build/result.ts'
import type { Tree } from '../../build/solver/types.ts'
import { resolveImage } from '../../build/steps/image/resolve.ts'
import { notFound, notImplemented } from '../../core/errors.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import type { Operation, Requester } from '../../engine/operations.ts'
import { familiar } from '../../oci/reference.ts'
import type { Definition } from '../../wire/buildkit/ops_pb.ts'
import { BuildContainers } from './buildContainers.ts'
import { warningInfo } from './excerpts.ts'
import { exportResult } from './exporters.ts'
import { HeldResults } from './heldResults.ts'
import { jsonBytes, outcomeOf, refsOf, resultMetadata } from './results.ts'
import type {
  Build,
  BuildRequest,
  BuildResult,
  ImageAnswer,
  ImageQuery,
  SolveRequest,
  StatusEvent,
} from './types.ts'

/** One build of a client of BuildKit's, done by the engine's builder. */

interface Context {
  builder: BuildEngine
  request: BuildRequest
  tell: (event: StatusEvent) => void
  requester: Requester | undefined
}

const frontends = ['dockerfile.v0', 'gateway.v0']

/** What clients ask for by themselves is left out; what a user asked for must not look as if it were there. */
const refuseAttestations = ({ attestations }: FrontendAttributes): void => {
  const asked = Object.entries(attestations).find(
    ([, text]) => !/inline-only=true|disabled=true|^false$/.test(text),
  )
  if (asked) throw notImplemented(`the attestation ${asked[0]} of a build (--attest, --provenance, --sbom)`)
}

/** An empty file system, with the answer beside it. */
const answerOf = async (
  build: EngineBuild,
  name: string,
  { attributes, inputs }: { attributes: FrontendAttributes; inputs: Inputs },
): Promise<BuildResult> => {
  const answer = await build.answer(name, attributes, inputs)
  return {
    metadata: Object.fromEntries(Object.entries(answer).map(([key, text]) => [key, Buffer.from(text)])),
  }
}

export class DoorBuild implements Build {
  readonly #context: Context
  readonly #operation: Operation
  readonly #results: HeldResults
  /** Ends the operation, whichever of the build's calls was under way. */
  readonly #end = new AbortController()
  #build: Promise<EngineBuild> | undefined
  #isOver = false
  readonly containers = new BuildContainers({
    treeOf: (ref, asking) => this.#treeOf(ref, asking),
    make: async (request, asking) => await (await this.#begun()).container(request, asking),
  })

  constructor(context: Context) {
    this.#context = context
    const { builder, request, requester } = context
    this.#operation = builder.engine.operations.begin({
      verb: 'build',
      subject: {
        type: 'image',
        id: '',
        name: request.exporters.flatMap(({ attributes }) => readNames(attributes).map(familiar)).join(','),
      },
      ...(requester ? { requester } : {}),
    })
    this.#operation.endWith(this.#end.signal)
    this.#results = new HeldResults({
      lend: (ref, result) => {
        if (!this.#isOver) builder.lending.lend(ref, result, this)
      },
      leftBy: vertex => builder.find(request.ref)?.leftBy(vertex),
    })
  }

  /** A call's signal aborts after it was answered, too: it counts only while it is under way. */
  async #within<T>(signal: AbortSignal, work: (build: EngineBuild) => Promise<T>): Promise<T> {
    const abort = (): void => this.#end.abort(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await work(await this.#begun())
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Begun with the first thing that it has to do: its client's session is there by then. */
  async #begun(): Promise<EngineBuild> {
    this.#build ??= this.#begin()
    return await this.#build
  }

  async #begin(): Promise<EngineBuild> {
    const { builder, request, tell } = this.#context
    const session = await builder.sessions.wait(request.session, this.#operation.signal)
    return builder.begin({
      id: request.ref,
      client: builder.client(session),
      operation: this.#operation,
      granted: readEntitlements(request.entitlements, builder.entitlements),
      tell,
      warn: warning => tell({ kind: 'check', ...warningInfo(warning) }),
    })
  }

  async solve(request: SolveRequest, signal: AbortSignal): Promise<BuildResult> {
    const result = await this.#planned(request, signal)
    if (request.evaluate) await Promise.all(refsOf(result).map(ref => this.evaluate(ref, signal)))
    return result
  }

  async #planned(request: SolveRequest, signal: AbortSignal): Promise<BuildResult> {
    const { definition } = request
    if (request.frontend === '') {
      if (!definition) return { metadata: {} }
      const graph = readDefinition(definition, this.#definitions)
      return await this.#within(signal, async build => ({
        ref: this.#results.hold(this.#partOf(graph) ?? build.resultOfGraph(graph)),
        metadata: {},
      }))
    }
    if (!frontends.includes(request.frontend)) throw notImplemented(`the frontend ${request.frontend}`)
    const attributes = readAttributes(request.options)
    const inputs = readInputs(request.inputs, attributes, this.#definitions)
    const { subrequest } = attributes
    if (subrequest) {
      const asked = { attributes, inputs }
      return await this.#within(signal, async build => await answerOf(build, subrequest, asked))
    }
    // All that is refused is so before steps are run for it.
    const exports = this.#cacheExports
    const sources = readCacheSources([...attributes.cacheImports, ...request.cacheImports])
    refuseAttestations(attributes)
    const results = await this.#within(signal, async build => {
      const { engine } = this.#context.builder
      const importing = importCaches({ build, engine, sources, platforms: attributes.platforms })
      // Where there is no plan, nobody asks for it.
      importing.catch(() => {})
      const { plans, source } = await build.plan(attributes, inputs)
      const options = { imported: await importing, holdsAll: exports.length > 0 }
      return plans.map(planned => build.result({ ...planned, source }, options))
    })
    const refs = results.map(result => [result.planned.platform, this.#results.hold(result)] as const)
    const metadata = resultMetadata(
      results.map(({ planned }) => planned),
      attributes.multiPlatform,
    )
    if (attributes.multiPlatform) return { refs: Object.fromEntries(refs), metadata }
    return { ...(refs[0] ? { ref: refs[0][1] } : {}), metadata }
  }

  /** Of what this build has planned before. */
  #partOf({ result }: Graph): PlannedResult | undefined {
    return result && this.#results.with(result.vertex)?.part(result)
  }

  get #definitions(): DefinitionHost {
    const { builder, request } = this.#context
    return {
      session: request.session,
      planned: vertex => this.#results.with(vertex)?.graph,
      lent: id => builder.lending.find(id)?.step,
      past: vertex => builder.lending.past(vertex),
    }
  }

  definition(ref: string): Definition {
    return this.#results.definition(ref)
  }

  /** What a container of the client's is to have mounted. Errors: `not-found`, those of making it. */
  async #treeOf(ref: string, signal: AbortSignal): Promise<Tree> {
    if (!this.#results.has(ref)) throw notFound(`return reference ${ref} not found`)
    return (await this.#within(signal, () => this.#results.made(ref))).tree
  }

  /** A client that only builds needs no call of its own for this: debuggers look into what fails. */
  async evaluate(ref: string, signal: AbortSignal): Promise<void> {
    await this.#within(signal, async build => {
      build.lookInto()
      await this.#results.made(ref)
    })
  }

  async #look<T>(ref: string, signal: AbortSignal, work: (root: string) => T | Promise<T>): Promise<T> {
    const made = await this.#within(signal, () => this.#results.made(ref))
    const build = await this.#begun()
    return await build.look(made, work)
  }

  async readFile(ref: string, file: FilePart, signal: AbortSignal): Promise<Uint8Array> {
    return await this.#look(ref, signal, root => readResultFile(root, file))
  }

  async readDirectory(
    ref: string,
    directory: { path: string; pattern: string },
    signal: AbortSignal,
  ): Promise<ResultEntry[]> {
    return await this.#look(ref, signal, root => readResultDirectory(root, directory))
  }

  async statFile(ref: string, path: string, signal: AbortSignal): Promise<ResultEntry> {
    return await this.#look(ref, signal, root => statResultFile(root, path))
  }

  async resolveImage(query: ImageQuery, signal: AbortSignal): Promise<ImageAnswer> {
    const { layout } = query
    const name = query.logName || `resolve image config for ${query.reference}`
    const { config, digest } = await this.#within(signal, async build => {
      const asked = {
        reference: query.reference,
        platform: query.platform ?? hostPlatform,
        resolve: query.resolve,
        credentials: build.client.credentials,
        signal: build.signal,
      }
      const { store } = layout ?? {}
      return await build.step(name, async () =>
        store === undefined
          ? await resolveImage(this.#context.builder.engine, asked)
          : await build.layoutImage({ ...asked, store }),
      )
    })
    return { digest, config: jsonBytes(config), reference: query.reference }
  }

  async finish(result: BuildResult, signal: AbortSignal): Promise<Record<string, string>> {
    const { exporters } = this.#context.request
    // Some clients name an exporter beside a question, whose answer is no image.
    if (result.metadata['result.json'] && !result.ref && !result.refs) return {}
    const caches = this.#cacheExports
    const outcome = await this.#within(signal, () => this.#outcome(result, caches))
    if (!outcome) return {}
    return await this.#within(signal, async build => {
      const { builder, request } = this.#context
      const session = await builder.sessions.wait(request.session, signal)
      const told: Told = {}
      for (const [index, exporter] of exporters.entries())
        Object.assign(
          told,
          await exportResult(build, exporter, { outcome, target: { session, exporter: index } }),
        )
      return { ...told, ...(await exportCaches(build, caches, outcome)) }
    })
  }

  /** Errors: those of what they say. */
  get #cacheExports(): CacheExport[] {
    return this.#context.request.cacheExports.map(readCacheExport)
  }

  /** Undefined where nothing is exported: its steps are done all the same, and a client may return nothing then. */
  async #outcome(result: BuildResult, caches: readonly CacheExport[]): Promise<BuildOutcome | undefined> {
    const { exporters } = this.#context.request
    const known = refsOf(result).filter(ref => this.#results.has(ref))
    const made = await Promise.all(known.map(async ref => [ref, await this.#results.made(ref)] as const))
    if (exporters.length === 0 && caches.length === 0) return undefined
    const outcome = outcomeOf(result, new Map(made))
    return caches.some(({ to }) => to.kind === 'inline') ? await withInlineCaches(outcome) : outcome
  }

  async [Symbol.asyncDispose](): Promise<void> {
    using _operation = this.#operation
    this.#isOver = true
    this.#context.builder.lending.ended(this)
    await this.containers[Symbol.asyncDispose]()
    const build = await this.#build?.catch(() => undefined)
    await build?.[Symbol.asyncDispose]()
  }
}
