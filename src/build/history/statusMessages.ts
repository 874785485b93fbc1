import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { TimestampSchema } from '@bufbuild/protobuf/wkt'
import {
  type StatusResponse,
  StatusResponseSchema,
  type VertexSchema,
  type VertexStatusSchema,
  type VertexWarningSchema,
} from '../../wire/buildkit/control_pb.ts'
import type { RangeSchema, SourceInfoSchema } from '../../wire/buildkit/ops_pb.ts'
import type { PartInfo, SourceExcerpt, StatusUpdate, VertexInfo, WarningInfo } from '../solver/progress.ts'

/** What a build tells, as messages of `Control.Status`. */

const second = 1_000_000_000n

/** Nanoseconds since the epoch. */
export const timestampOf = (nanos: bigint): Timestamp =>
  create(TimestampSchema, { seconds: nanos / second, nanos: Number(nanos % second) })

const streams = { stdout: 1n, stderr: 2n } as const

export const sourceInfo = ({
  file,
  text,
  language,
}: SourceExcerpt): MessageInitShape<typeof SourceInfoSchema> => ({
  filename: file,
  data: text,
  language,
})

export const sourceRanges = ({ ranges }: SourceExcerpt): MessageInitShape<typeof RangeSchema>[] => ranges

const vertexMessage = (info: VertexInfo): MessageInitShape<typeof VertexSchema> => ({
  digest: info.digest,
  inputs: info.inputs,
  name: info.name,
  cached: info.cached,
  ...(info.startedAt === undefined ? {} : { started: timestampOf(info.startedAt) }),
  ...(info.completedAt === undefined ? {} : { completed: timestampOf(info.completedAt) }),
  error: info.error,
  ...(info.group === undefined ? {} : { progressGroup: { id: info.group, name: info.group } }),
})

const partMessage = (part: PartInfo): MessageInitShape<typeof VertexStatusSchema> => ({
  id: part.id,
  vertex: part.vertex,
  name: part.name,
  current: BigInt(part.current),
  total: BigInt(part.total),
  timestamp: timestampOf(part.completedAt ?? part.time),
  started: timestampOf(part.startedAt),
  ...(part.completedAt === undefined ? {} : { completed: timestampOf(part.completedAt) }),
})

const warningMessage = (warning: WarningInfo): MessageInitShape<typeof VertexWarningSchema> => ({
  vertex: warning.vertex,
  level: BigInt(warning.level),
  short: Buffer.from(warning.short),
  detail: warning.detail.map(line => Buffer.from(line)),
  url: warning.url,
  ...(warning.source ? { info: sourceInfo(warning.source), ranges: sourceRanges(warning.source) } : {}),
})

export const statusMessage = ({ vertexes, statuses, logs, warnings }: StatusUpdate): StatusResponse =>
  create(StatusResponseSchema, {
    vertexes: vertexes.map(vertexMessage),
    statuses: statuses.map(partMessage),
    logs: logs.map(({ vertex, stream, bytes, time }) => ({
      vertex,
      stream: streams[stream],
      msg: bytes,
      timestamp: timestampOf(time),
    })),
    warnings: warnings.map(warningMessage),
  })
