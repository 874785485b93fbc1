import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import type { WarningInfo } from '../../build/solver/progress.ts'
import { BerthError, badRequest, notImplemented } from '../../core/errors.ts'
import {
  type LLBBridge,
  RefSchema,
  type ResolveSourceMetaRequest,
  type ResolveSourceMetaResponseSchema,
  type Result,
  ResultSchema,
  type SolveRequest,
  type SolveResponseSchema,
  type WarnRequest,
} from '../../wire/buildkit/gateway_pb.ts'
import type { OpenBuild, Services } from './builds.ts'
import { gatewayCaps, graphCaps } from './caps.ts'
import { containerCalls } from './containerCalls.ts'
import { partOf, statMessage } from './fileMessages.ts'
import { ReturnedError, told } from './grpcErrors.ts'
import type { Build, BuildResult, ImageQuery } from './types.ts'
import { platformOf, workerMessages } from './workerMessages.ts'

/** `moby.buildkit.v1.frontend.LLBBridge`: what leads one build. Calls are tied to it by a header. */

const buildHeader = 'buildkit-controlapi-buildid'

/** With what a client shows of it, or gives to other builds, where this result is a context of theirs. */
const refMessage = (build: Build, id: string) =>
  create(RefSchema, { id, ...(id ? { def: build.definition(id) } : {}) })

const resultMessage = (build: Build, { ref, refs, metadata }: BuildResult): Result =>
  create(ResultSchema, {
    metadata,
    result: refs
      ? {
          case: 'refs',
          value: {
            refs: Object.fromEntries(Object.entries(refs).map(([id, of]) => [id, refMessage(build, of)])),
          },
        }
      : { case: 'ref', value: refMessage(build, ref ?? '') },
  })

const resultOf = ({ result, metadata }: Result): BuildResult => {
  if (result.case === 'ref') return { ref: result.value.id, metadata }
  if (result.case === 'refDeprecated') return { ref: result.value, metadata }
  if (result.case === 'refsDeprecated') return { refs: result.value.refs, metadata }
  if (result.case !== 'refs') return { metadata }
  return {
    refs: Object.fromEntries(Object.entries(result.value.refs).map(([id, ref]) => [id, ref.id])),
    metadata,
  }
}

const resolveModes = { default: 'default', pull: 'pull', local: 'local' } as const

const modeOf = (text: string): ImageQuery['resolve'] =>
  text in resolveModes ? (text as ImageQuery['resolve']) : 'default'

const imagePrefix = 'docker-image://'

const warningOf = (request: WarnRequest): WarningInfo => ({
  vertex: request.digest as WarningInfo['vertex'],
  level: Number(request.level),
  short: Buffer.from(request.short).toString(),
  detail: request.detail.map(line => Buffer.from(line).toString()),
  url: request.url,
  ...(request.info
    ? {
        source: {
          file: request.info.filename,
          text: request.info.data,
          language: request.info.language,
          ranges: request.ranges.map(({ start, end }) => ({
            start: { line: start?.line ?? 0, character: start?.character ?? 0 },
            end: { line: end?.line ?? 0, character: end?.character ?? 0 },
          })),
        },
      }
    : {}),
})

const solve = async (
  { build, record }: OpenBuild,
  request: SolveRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof SolveResponseSchema>> => {
  if (request.sourcePolicies.length > 0) throw notImplemented('a source policy')
  record?.asked(request.frontend, request.frontendOpt)
  const result = await build.solve(
    {
      frontend: request.frontend,
      options: request.frontendOpt,
      inputs: request.frontendInputs,
      ...(request.definition ? { definition: request.definition } : {}),
      cacheImports: request.cacheImports.map(({ type, attrs }) => ({ type, attributes: attrs })),
      evaluate: request.evaluate,
    },
    signal,
  )
  if (request.allowResultReturn) return { result: resultMessage(build, result) }
  if (result.refs) throw new BerthError('bad-request', 400, 'solve did not return default result')
  return { ref: result.ref ?? '' }
}

const resolveSource = async (
  { build }: OpenBuild,
  request: ResolveSourceMetaRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ResolveSourceMetaResponseSchema>> => {
  const { identifier = '', attrs = {} } = request.source ?? {}
  if (!identifier.startsWith(imagePrefix))
    throw badRequest(`cannot tell of ${identifier || 'no source'}: sources that are looked up are images`)
  const platform = platformOf(request.platform)
  const answer = await build.resolveImage(
    {
      reference: identifier.slice(imagePrefix.length),
      ...(platform ? { platform } : {}),
      resolve: modeOf(request.resolveMode),
      logName: request.logName,
      onlyDigest: request.image?.noConfig ?? false,
    },
    signal,
  )
  return {
    source: { identifier: imagePrefix + answer.reference, attrs },
    image: { digest: answer.digest, config: answer.config },
  }
}

/** A call of a build, which its end ends, too. */
export type Call = <T>(
  context: HandlerContext,
  work: (open: OpenBuild, signal: AbortSignal) => Promise<T>,
) => Promise<T>

const callOf =
  (services: Services): Call =>
  ({ requestHeader, signal }, work) =>
    told(services, async () => {
      const open = await services.builds.wait(requestHeader.get(buildHeader) ?? '', signal)
      return await work(open, AbortSignal.any([signal, open.signal]))
    })

const fileCalls = (call: Call): Partial<ServiceImpl<typeof LLBBridge>> => ({
  readFile: (request, context) =>
    call(context, async ({ build }, signal) => ({
      data: await build.readFile(request.ref, partOf(request), signal),
    })),
  readDir: ({ ref, dirPath, includePattern }, context) =>
    call(context, async ({ build }, signal) => {
      const directory = { path: dirPath, pattern: includePattern }
      return { entries: (await build.readDirectory(ref, directory, signal)).map(statMessage) }
    }),
  statFile: ({ ref, path }, context) =>
    call(context, async ({ build }, signal) => ({
      stat: statMessage(await build.statFile(ref, path, signal)),
    })),
})

const sourceCalls = (call: Call): Partial<ServiceImpl<typeof LLBBridge>> => ({
  resolveImageConfig: (request, context) =>
    call(context, async ({ build }, signal) => {
      const platform = platformOf(request.platform)
      const query: ImageQuery = {
        reference: request.ref,
        ...(platform ? { platform } : {}),
        resolve: modeOf(request.resolveMode),
        logName: request.logName,
        onlyDigest: false,
        ...(request.storeId === '' ? {} : { layout: { session: request.sessionId, store: request.storeId } }),
      }
      const { digest, config, reference } = await build.resolveImage(query, signal)
      return { digest, config, ref: reference }
    }),
  resolveSourceMeta: (request, context) =>
    call(context, (open, signal) => resolveSource(open, request, signal)),
})

export const bridgeService = (services: Services): Partial<ServiceImpl<typeof LLBBridge>> => {
  const call = callOf(services)
  return {
    ping: (_request, context) =>
      call(context, async () => ({
        frontendApiCaps: gatewayCaps,
        llbCaps: graphCaps,
        workers: workerMessages(services.builder),
      })),
    solve: (request, context) => call(context, (open, signal) => solve(open, request, signal)),
    evaluate: ({ ref }, context) =>
      call(context, async ({ build }, signal) => {
        await build.evaluate(ref, signal)
        return {}
      }),
    return: ({ result, error }, context) =>
      call(context, async ({ returned }) => {
        if (error) returned.reject(new ReturnedError(error))
        else returned.resolve(result ? resultOf(result) : { metadata: {} })
        return {}
      }),
    // A client's build has none: they are for frontends that are images.
    inputs: () => ({ definitions: {} }),
    warn: (request, context) =>
      call(context, async ({ progress }) => {
        progress.warn(warningOf(request))
        return {}
      }),
    ...fileCalls(call),
    ...containerCalls(services, call),
    ...sourceCalls(call),
  }
}
