import { create, type MessageInitShape, toBinary, toJsonString } from '@bufbuild/protobuf'
import type { AnySchema } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import { UnsupportedSubrequestError } from '../../build/frontend/subrequests.ts'
import { withoutPasswords } from '../../build/history/attributes.ts'
import type { BuildEnd } from '../../build/history/types.ts'
import type { SourceExcerpt } from '../../build/solver/progress.ts'
import { BerthError, causeOf, messageOf } from '../../core/errors.ts'
import { SolveSchema } from '../../wire/buildkit/errdefs_pb.ts'
import { type Status, StatusSchema } from '../../wire/buildkit/status_pb.ts'
import { FailedSolve, failedVertex } from './failedSolve.ts'
import type { Builder } from './types.ts'

/**
 * Errors as BuildKit's clients take them: a code, a message, and details with
 * the places that they come from. A code other than `Unknown` is shown before
 * the message, so most have that one.
 */

const codes = new Map<string, Code>([
  ['cancelled', Code.Canceled],
  ['client-gone', Code.Canceled],
  ['session-closed', Code.Canceled],
  ['not-implemented', Code.Unimplemented],
  ['no-such-build', Code.NotFound],
])

const codeOf = (error: unknown): Code => {
  if (error instanceof BerthError) return codes.get(error.code) ?? Code.Unknown
  return error instanceof Error && error.name === 'AbortError' ? Code.Canceled : Code.Unknown
}

/** The name by which Go's clients know a detail; its value is JSON. */
const sourceUrl = 'github.com/moby/buildkit/errdefs.Source+json'

const sourceJson = (source: SourceExcerpt): Uint8Array =>
  Buffer.from(
    JSON.stringify({
      info: {
        filename: source.file,
        data: Buffer.from(source.text).toString('base64'),
        language: source.language,
      },
      ranges: source.ranges,
    }),
  )

/** How clients know that a question is not answered here, and ask another one. */
const subrequestDetail = (error: UnsupportedSubrequestError): MessageInitShape<typeof AnySchema> => ({
  typeUrl: 'github.com/moby/buildkit/errdefs.Subrequest+json',
  value: Buffer.from(JSON.stringify({ name: error.subrequest })),
})

/** An error of a client's own that came back: its code and details stay as they are. */
export class ReturnedError extends Error {
  readonly status: Status

  constructor(status: Status) {
    super(status.message)
    this.name = 'ReturnedError'
    this.status = status
  }
}

type Detail = MessageInitShape<typeof AnySchema>

/** The step that failed: clients find its output by it. */
const vertexDetails = (error: unknown): Detail[] => {
  const vertex = failedVertex(error)
  if (!vertex) return []
  const value = Buffer.from(JSON.stringify({ digest: vertex.digest }))
  return [{ typeUrl: 'github.com/moby/buildkit/errdefs.Vertex+json', value }]
}

const solveUrl = 'github.com/moby/buildkit/errdefs.Solve+json'

/** What the step took, while the build is there: debuggers look into it. */
const solveDetails = (error: unknown): Detail[] => {
  const failed = causeOf(error, FailedSolve)
  if (!failed) return []
  const { op, inputIds, mountIds } = failed
  const message = create(SolveSchema, { op, inputIds: [...inputIds], mountIds: [...mountIds] })
  return [{ typeUrl: solveUrl, value: Buffer.from(toJsonString(SolveSchema, message)) }]
}

const statusOf = (error: unknown, sources: readonly SourceExcerpt[]): Status =>
  error instanceof ReturnedError
    ? error.status
    : create(StatusSchema, {
        code: codeOf(error),
        message: messageOf(error),
        details: [
          ...sources.map(source => ({ typeUrl: sourceUrl, value: sourceJson(source) })),
          ...vertexDetails(error),
          ...solveDetails(error),
          ...(error instanceof UnsupportedSubrequestError ? [subrequestDetail(error)] : []),
        ],
      })

/** The trailer in which a whole status travels, under the name that `namedTrailers` gives it. */
const detailsTrailer = 'berth-status-details'

/** An error to throw in a handler. */
export const grpcError = (error: unknown, builder: Builder): ConnectError => {
  if (error instanceof ConnectError) return error
  const status = statusOf(error, builder.sourcesOf(error))
  const trailers: Record<string, string> =
    status.details.length > 0
      ? { [detailsTrailer]: Buffer.from(toBinary(StatusSchema, status)).toString('base64') }
      : {}
  return new ConnectError(status.message, status.code || Code.Unknown, trailers)
}

/** An error as a build's record has it. */
export const recordedError = (
  error: unknown,
  sources: readonly SourceExcerpt[],
): NonNullable<BuildEnd['error']> => {
  const status = statusOf(error, sources)
  const { code } = status
  const message = withoutPasswords(status.message)
  // What a step took is there no more when its build has ended.
  const details = status.details.filter(({ typeUrl }) => typeUrl !== solveUrl)
  return {
    code,
    message,
    details: toBinary(StatusSchema, create(StatusSchema, { ...status, message, details })),
  }
}

/** What a handler does, with its errors as clients take them. */
export const told = async <T>({ builder }: { builder: Builder }, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    throw grpcError(error, builder)
  }
}

/** Details are gRPC's own field, which handlers may not set: it has another name until it is sent. */
export const namedTrailers = <T>(trailers: Record<string, T>): Record<string, T> => {
  const { [detailsTrailer]: details, ...rest } = trailers
  return details === undefined ? trailers : { ...rest, 'grpc-status-details-bin': details }
}
