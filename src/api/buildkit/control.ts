import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import { statusMessage } from '../../build/history/statusMessages.ts'
import { bytesDuplex } from '../../build/session/bytesDuplex.ts'
import { BuildProgress } from '../../build/solver/progress.ts'
import { abandonable } from '../../core/abort.ts'
import { nowText } from '../../core/clock.ts'
import { BerthError, notImplemented } from '../../core/errors.ts'
import type { Requester } from '../../engine/operations.ts'
import type {
  BuildHistoryEventSchema,
  BuildHistoryRequest,
  BytesMessage,
  CacheOptions,
  Control,
  PruneRequest,
  SolveRequest,
  StatusResponse,
  UsageRecord,
} from '../../wire/buildkit/control_pb.ts'
import { type Recorded, recordedBuild } from '../buildRecord.ts'
import type { OpenBuild, Services } from './builds.ts'
import { requesterKey } from './grpcDoor.ts'
import { grpcError, told } from './grpcErrors.ts'
import { listenBuildHistory, updateBuildHistory } from './history.ts'
import type { Attributed, Build, BuildRequest, BuildResult, StatusEvent } from './types.ts'
import { usageMessage, versionMessage, workerMessages } from './workerMessages.ts'

/** `moby.buildkit.v1.Control`: what a client asks of a builder. */

const attributed = (entry: { type: string; attrs: Record<string, string> }): Attributed => ({
  type: entry.type,
  attributes: entry.attrs,
})

/** Clients once knew one exporter only. */
const exportersOf = (request: SolveRequest): Attributed[] =>
  request.exporters.length > 0 || request.exporterDeprecated === ''
    ? request.exporters.map(attributed)
    : [{ type: request.exporterDeprecated, attributes: request.exporterAttrsDeprecated }]

const cacheExports = (cache: CacheOptions | undefined): Attributed[] => {
  if (!cache) return []
  const old = { ref: cache.exportRefDeprecated, ...cache.exportAttrsDeprecated }
  return cache.exportRefDeprecated === ''
    ? cache.exports.map(attributed)
    : [...cache.exports.map(attributed), { type: 'registry', attributes: old }]
}

const cacheImports = (cache: CacheOptions | undefined): Attributed[] => [
  ...(cache?.imports ?? []).map(attributed),
  ...(cache?.importRefsDeprecated ?? []).map(ref => ({ type: 'registry', attributes: { ref } })),
]

/** Rules that are not kept must not look as if they were. */
const refusePolicy = ({ sourcePolicy, sourcePolicySession }: SolveRequest): void => {
  if (sourcePolicy.length > 0 || sourcePolicySession !== '') throw notImplemented('a source policy')
}

const buildRequest = (request: SolveRequest): BuildRequest => ({
  ref: request.ref,
  session: request.session,
  frontend: request.frontend,
  options: request.frontendAttrs,
  inputs: request.frontendInputs,
  ...(request.definition ? { definition: request.definition } : {}),
  entitlements: request.entitlements,
  exporters: exportersOf(request),
  cacheImports: cacheImports(request.cache),
  cacheExports: cacheExports(request.cache),
  isInternal: request.internal,
})

/** Who leads it: a frontend of ours, a graph as it is, or the client, who returns the result. */
const resultOf = (open: OpenBuild, request: BuildRequest): Promise<BuildResult> => {
  const { frontend, options, inputs, definition } = request
  if (frontend === '' && !definition) return abandonable(open.signal, open.returned.promise)
  return open.build.solve(
    {
      frontend,
      options,
      inputs,
      ...(definition ? { definition } : {}),
      cacheImports: request.cacheImports,
      evaluate: false,
    },
    open.signal,
  )
}

const hear = (progress: BuildProgress, event: StatusEvent): void => {
  if (event.kind === 'check') progress.warn(event)
  else progress.hear(event)
}

interface SolveCall {
  message: SolveRequest
  requester: Requester | undefined
}

const begin = (
  { builder, builds }: Services,
  { message, requester }: SolveCall,
  progress: BuildProgress,
): { build: Build; request: BuildRequest } => {
  const request = buildRequest(message)
  try {
    refusePolicy(message)
    return { request, build: builder.begin(request, event => hear(progress, event), requester) }
  } catch (error) {
    builds.refuse(request.ref, error)
    throw error
  }
}

const recordedOf = (
  { builder }: Services,
  { ref, frontend, options, exporters, isInternal }: BuildRequest,
  { progress, requester }: { progress: BuildProgress; requester: Requester | undefined },
): Recorded => ({
  history: isInternal ? undefined : builder.history,
  inputs: { ref, frontend, attributes: options, exporters, ...(requester ? { requester } : {}) },
  progress,
  sourcesOf: error => builder.sourcesOf(error),
})

const solve = async (
  services: Services,
  call: SolveCall,
  signal: AbortSignal,
): Promise<{ exporterResponse: Record<string, string> }> => {
  const { builder, builds } = services
  const progress = new BuildProgress()
  const end = new AbortController()
  const { build, request } = begin(services, call, progress)
  await using _ = build
  const returned = Promise.withResolvers<BuildResult>()
  returned.promise.catch(() => {})
  const open: OpenBuild = {
    ref: request.ref,
    build,
    progress,
    signal: AbortSignal.any([signal, end.signal]),
    returned,
  }
  builds.add(open)
  try {
    const exporterResponse = await recordedBuild(
      recordedOf(services, request, { progress, requester: call.requester }),
      async record => {
        open.record = record
        try {
          return await build.finish(await resultOf(open, request), open.signal)
        } finally {
          end.abort(new BerthError('cancelled', 499, 'the build has ended'))
        }
      },
    )
    return { exporterResponse }
  } finally {
    builds.remove(request.ref, { isKept: builder.history?.knows(request.ref) ?? false })
  }
}

async function* status(services: Services, ref: string, signal: AbortSignal): AsyncGenerator<StatusResponse> {
  const { builder, builds } = services
  const { history } = builder
  try {
    // A build that has been, or one of another door.
    if (history?.knows(ref) && !builds.has(ref)) return yield* history.told(ref, signal)
    const progress = await builds.progress(ref, signal)
    for await (const update of progress.read(signal)) yield statusMessage(update)
  } catch (error) {
    // Who leaves early hears no more, which is no error.
    if (!signal.aborted) throw grpcError(error, builder)
  }
}

async function* history(
  { builder }: Services,
  request: BuildHistoryRequest,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof BuildHistoryEventSchema>> {
  if (!builder.history) return
  try {
    yield* listenBuildHistory(builder.history, request, signal)
  } catch (error) {
    throw grpcError(error, builder)
  }
}

/** Clients tell by it how long a build has been going. */
const tellTime = (header: Headers): void => header.set('buildkit-current-timestamp', nowText())

async function* session(
  services: Services,
  messages: AsyncIterable<BytesMessage>,
  headers: Headers,
): AsyncGenerator<BytesMessage> {
  const field = (name: string): string => headers.get(`x-docker-expose-session-${name}`) ?? ''
  if (field('uuid') === '') throw new ConnectError('the session has no id', Code.InvalidArgument)
  const { socket, outgoing } = bytesDuplex(messages)
  const connection = {
    socket,
    id: field('uuid'),
    name: field('name'),
    sharedKey: field('sharedkey'),
    // The library joins the fields of one name; a path has no comma.
    methods: field('grpc-method').split(/,\s*/),
  }
  await told(services, async () => services.builder.sessions.open(connection))
  yield* outgoing
}

async function* prune(
  services: Services,
  request: PruneRequest,
  signal: AbortSignal,
): AsyncGenerator<UsageRecord> {
  const { filter, all, keepDuration, reservedSpace, maxUsedSpace, minFreeSpace } = request
  const policy = { filters: filter, all, keepDuration, reservedSpace, maxUsedSpace, minFreeSpace }
  try {
    for await (const usage of services.builder.prune(policy, signal)) yield usageMessage(usage)
  } catch (error) {
    throw grpcError(error, services.builder)
  }
}

export const controlService = (services: Services): Partial<ServiceImpl<typeof Control>> => {
  const { builder } = services
  return {
    solve: (message, { signal, values }) =>
      told(services, () => solve(services, { message, requester: values.get(requesterKey) }, signal)),
    status: ({ ref }, { signal, responseHeader }) => {
      tellTime(responseHeader)
      return status(services, ref, signal)
    },
    session: (messages, { requestHeader }) => session(services, messages, requestHeader),
    listWorkers: () => ({ record: workerMessages(builder) }),
    info: () => ({ buildkitVersion: versionMessage(builder) }),
    diskUsage: ({ filter, ageLimit }, { signal }) =>
      told(services, async () => ({
        record: (await builder.usage({ filters: filter, ageLimit }, signal)).map(usageMessage),
      })),
    prune: (request, { signal }) => prune(services, request, signal),
    listenBuildHistory: (request, { signal, responseHeader }) => {
      tellTime(responseHeader)
      return history(services, request, signal)
    },
    updateBuildHistory: request =>
      told(services, async () => {
        if (builder.history) await updateBuildHistory(builder.history, request)
        return {}
      }),
  }
}
