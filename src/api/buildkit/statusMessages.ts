import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { TimestampSchema } from '@bufbuild/protobuf/wkt'
import { nowNanos } from '../../core/clock.ts'
import {
  type StatusResponse,
  StatusResponseSchema,
  type VertexSchema,
  type VertexStatusSchema,
  type VertexWarningSchema,
} from '../../wire/buildkit/control_pb.ts'
import type { RangeSchema, SourceInfoSchema } from '../../wire/buildkit/ops_pb.ts'
import type { SourceExcerpt, StatusEvent } from './types.ts'

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

type Event<K extends StatusEvent['kind']> = Extract<StatusEvent, { kind: K }>

const vertexMessage = ({
  vertex,
  state,
  startedAt,
  completedAt,
  error,
}: Event<'vertex'>): MessageInitShape<typeof VertexSchema> => ({
  digest: vertex.digest,
  inputs: vertex.inputs.map(input => input.vertex),
  name: vertex.step.name,
  cached: state === 'cached',
  ...(startedAt === undefined ? {} : { started: timestampOf(startedAt) }),
  ...(completedAt === undefined ? {} : { completed: timestampOf(completedAt) }),
  error: error ?? '',
  ...(vertex.step.group === undefined
    ? {}
    : { progressGroup: { id: vertex.step.group, name: vertex.step.group } }),
})

const partMessage = ({ vertex, part }: Event<'status'>): MessageInitShape<typeof VertexStatusSchema> => ({
  id: part.id,
  vertex,
  name: part.name,
  current: BigInt(part.current),
  total: BigInt(part.total),
  timestamp: timestampOf(part.completedAt ?? nowNanos()),
  started: timestampOf(part.startedAt),
  ...(part.completedAt === undefined ? {} : { completed: timestampOf(part.completedAt) }),
})

const warningMessage = (event: Event<'warning' | 'check'>): MessageInitShape<typeof VertexWarningSchema> =>
  event.kind === 'warning'
    ? { vertex: event.vertex, level: 1n, short: Buffer.from(event.text) }
    : {
        vertex: event.vertex,
        level: BigInt(event.level),
        short: Buffer.from(event.short),
        detail: event.detail.map(line => Buffer.from(line)),
        url: event.url,
        ...(event.source ? { info: sourceInfo(event.source), ranges: sourceRanges(event.source) } : {}),
      }

/** One message for several events; the client sorts them by their kind. */
export const statusMessage = (events: readonly StatusEvent[]): StatusResponse => {
  const of = <K extends StatusEvent['kind']>(...kinds: K[]): Event<K>[] =>
    events.filter((event): event is Event<K> => (kinds as string[]).includes(event.kind))
  return create(StatusResponseSchema, {
    vertexes: of('vertex').map(vertexMessage),
    statuses: of('status').map(partMessage),
    logs: of('output').map(({ vertex, stream, bytes, time }) => ({
      vertex,
      stream: streams[stream],
      msg: bytes,
      timestamp: timestampOf(time),
    })),
    warnings: of('warning', 'check').map(warningMessage),
  })
}
