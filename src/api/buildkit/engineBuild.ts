import type { BuiltPlatform, Build as EngineBuild } from '../../build/build.ts'
import type { Builder as BuildEngine } from '../../build/builder.ts'
import { readEntitlements } from '../../build/entitlements.ts'
import { readNames } from '../../build/export/options.ts'
import {
  type FilePart,
  type ResultEntry,
  readResultDirectory,
  readResultFile,
  statResultFile,
} from '../../build/export/resultFiles.ts'
import type { Told } from '../../build/export/types.ts'
import { type FrontendAttributes, readAttributes } from '../../build/frontend/attributes.ts'
import { resolveImage } from '../../build/steps/image/resolve.ts'
import { notFound, notImplemented } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import type { Operation, Requester } from '../../engine/operations.ts'
import { familiar } from '../../oci/reference.ts'
import { warningInfo } from './excerpts.ts'
import { exportResult } from './exporters.ts'
import { jsonBytes, outcomeOf, resultMetadata } from './results.ts'
import type {
  Attributed,
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
  attributes: FrontendAttributes,
): Promise<BuildResult> => {
  const answer = await build.answer(name, attributes)
  return {
    metadata: Object.fromEntries(Object.entries(answer).map(([key, text]) => [key, Buffer.from(text)])),
  }
}

export class DoorBuild implements Build {
  readonly #context: Context
  readonly #operation: Operation
  readonly #results = new Map<string, BuiltPlatform>()
  /** Ends the operation, whichever of the build's calls was under way. */
  readonly #end = new AbortController()
  #build: Promise<EngineBuild> | undefined

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
    if (!frontends.includes(request.frontend))
      throw notImplemented(
        request.frontend === ''
          ? 'a build of a graph of the client’s (LLB)'
          : `the frontend ${request.frontend}`,
      )
    const attributes = readAttributes(request.options)
    const { subrequest } = attributes
    if (subrequest)
      return await this.#within(signal, async build => await answerOf(build, subrequest, attributes))
    // Before steps are run for it.
    if (this.#context.request.cacheExports.length > 0)
      throw notImplemented('a cache that is exported (--cache-to)')
    refuseAttestations(attributes)
    if (Object.keys(request.inputs).length > 0) throw notImplemented('another target as a context of a build')
    const imports = new Set([...attributes.cacheImports, ...request.cacheImports].map(({ type }) => type))
    const built = await this.#within(signal, async build => {
      // It is slower without, and no less right.
      for (const type of imports)
        await build.step(`[internal] cannot import a cache (${type}) yet: going on without`, async () => {})
      return await build.solve(await build.plan(attributes))
    })
    const refs = built.map(one => {
      const ref = newId()
      this.#results.set(ref, one)
      return [one.platform, ref] as const
    })
    const metadata = resultMetadata(built, attributes.multiPlatform)
    if (attributes.multiPlatform) return { refs: Object.fromEntries(refs), metadata }
    return { ...(refs[0] ? { ref: refs[0][1] } : {}), metadata }
  }

  async evaluate(): Promise<void> {
    // Steps are done when a solve is answered.
  }

  async #look<T>(ref: string, signal: AbortSignal, work: (root: string) => T | Promise<T>): Promise<T> {
    const found = this.#results.get(ref)
    if (!found) throw notFound(`no such ref: ${ref}`)
    return await this.#within(signal, async build => await build.look(found, work))
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
    if (query.layout) throw notImplemented('images of a layout of the client')
    const name = query.logName || `resolve image config for ${query.reference}`
    const { config, digest } = await this.#within(signal, async build => {
      const asked = {
        reference: query.reference,
        platform: query.platform ?? hostPlatform,
        resolve: query.resolve,
        credentials: build.client.credentials,
        signal: build.signal,
      }
      return await build.step(name, async () => await resolveImage(this.#context.builder.engine, asked))
    })
    return { digest, config: jsonBytes(config), reference: query.reference }
  }

  async finish(result: BuildResult, signal: AbortSignal): Promise<Record<string, string>> {
    const { exporters } = this.#context.request
    // Some clients name an exporter beside a question, whose answer is no image.
    if (result.metadata['result.json'] && !result.ref && !result.refs) return {}
    const told: Told = {}
    for (const [index, exporter] of exporters.entries())
      Object.assign(told, await this.#export(exporter, { index, result, signal }))
    return told
  }

  async #export(
    exporter: Attributed,
    { index, result, signal }: { index: number; result: BuildResult; signal: AbortSignal },
  ): Promise<Told> {
    const { builder, request } = this.#context
    const outcome = outcomeOf(result, this.#results)
    return await this.#within(signal, async build => {
      const session = await builder.sessions.wait(request.session, signal)
      return await exportResult(build, exporter, { outcome, target: { session, exporter: index } })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    using _operation = this.#operation
    const build = await this.#build?.catch(() => undefined)
    await build?.[Symbol.asyncDispose]()
  }
}
