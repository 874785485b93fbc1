import { createHash } from 'node:crypto'
import { fromBinary } from '@bufbuild/protobuf'
import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { parseTime } from '../../core/clock.ts'
import type { Digest } from '../../oci/digest.ts'
import { type StatusResponse, StatusResponseSchema, type Vertex } from '../../wire/buildkit/control_pb.ts'
import type { VertexDigest } from '../graph/types.ts'
import type { VertexInfo } from '../solver/progress.ts'
import { frameOf, logType, messagesOf } from './frames.ts'
import { StepBook } from './steps.ts'
import type { BuildRecord, OpenRecord } from './types.ts'

/** `Unavailable` of gRPC. */
const code = 14
const died = 'the daemon ended before the build did: build again, what was done is cached'

/** The first second that has no four digits for its year. */
const endOfTime = 253_402_300_800n

/** Undefined for none, and for one that no text can tell. */
const nanosOf = (time: Timestamp | undefined): bigint | undefined =>
  time && time.seconds >= 0n && time.seconds < endOfTime && time.nanos >= 0 && time.nanos < 1e9
    ? time.seconds * 1_000_000_000n + BigInt(time.nanos)
    : undefined

const infoOf = ({ digest, inputs, name, cached, error, started, completed }: Vertex): VertexInfo => {
  const [startedAt, completedAt] = [nanosOf(started), nanosOf(completed)]
  return {
    digest: digest as VertexDigest,
    inputs: inputs as VertexDigest[],
    ...{ name, cached, error },
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(completedAt === undefined ? {} : { completedAt }),
  }
}

/** Undefined for bytes that are none: after a power cut a file may end with anything. */
const messageOf = (bytes: Uint8Array): StatusResponse | undefined => {
  try {
    return fromBinary(StatusResponseSchema, bytes)
  } catch {
    return undefined
  }
}

/** Of a build that died with an earlier daemon: what its log says, as far as it came. `at`: its last sign of life. */
export const interruptedRecord = async (
  noted: OpenRecord,
  { at, log }: { at: string; log: AsyncIterable<Uint8Array> | Iterable<Uint8Array> },
): Promise<BuildRecord> => {
  const book = new StepBook()
  const hash = createHash('sha256')
  let size = 0
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    yield* log
  }
  for await (const bytes of messagesOf(pieces())) {
    const message = messageOf(bytes)
    if (!message) break
    book.hear({ vertexes: message.vertexes.map(infoOf), warnings: message.warnings })
    const frame = frameOf(bytes)
    hash.update(frame)
    size += frame.length
  }
  book.interrupt(parseTime(at) ?? 0n, died)
  const why = new Map(noted.steps.map(step => [step.digest, step.why]))
  const steps = book.steps(new Map()).map(step => ({ ...step, why: why.get(step.digest) ?? [] }))
  return {
    ...noted,
    completedAt: at,
    error: { code, message: died },
    response: {},
    log: {
      ...{ mediaType: logType, digest: `sha256:${hash.digest('hex')}` as Digest, size },
      ...(size === 0 ? { bytes: '' } : {}),
    },
    ...(size === 0 ? {} : { counts: book.counts }),
    steps: size === 0 ? noted.steps : steps,
  }
}
