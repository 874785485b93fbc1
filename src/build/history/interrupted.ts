import { createHash } from 'node:crypto'
import { fromBinary } from '@bufbuild/protobuf'
import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { parseTime } from '../../core/clock.ts'
import type { Digest } from '../../oci/digest.ts'
import { StatusResponseSchema, type Vertex } from '../../wire/buildkit/control_pb.ts'
import type { VertexDigest } from '../graph/types.ts'
import type { VertexInfo } from '../solver/progress.ts'
import { frameOf, logType, messagesOf } from './frames.ts'
import { StepBook } from './steps.ts'
import type { BuildRecord, OpenRecord } from './types.ts'

/** `Unavailable` of gRPC. */
const code = 14
const message = 'the daemon ended before the build did: build again, what was done is cached'

export const nanosOf = ({ seconds, nanos }: Timestamp): bigint => seconds * 1_000_000_000n + BigInt(nanos)

const infoOf = ({ digest, inputs, name, cached, error, started, completed }: Vertex): VertexInfo => ({
  digest: digest as VertexDigest,
  inputs: inputs as VertexDigest[],
  ...{ name, cached, error },
  ...(started ? { startedAt: nanosOf(started) } : {}),
  ...(completed ? { completedAt: nanosOf(completed) } : {}),
})

/** Of a build that died with an earlier daemon: what its log says, as far as it came. `at`: its last sign of life. */
export const interruptedRecord = async (
  noted: OpenRecord,
  { at, log }: { at: string; log: AsyncIterable<Uint8Array> | Iterable<never> },
): Promise<BuildRecord> => {
  const book = new StepBook()
  const hash = createHash('sha256')
  let size = 0
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    yield* log
  }
  for await (const bytes of messagesOf(pieces())) {
    const { vertexes, warnings } = fromBinary(StatusResponseSchema, bytes)
    book.hear({ vertexes: vertexes.map(infoOf), warnings })
    const frame = frameOf(bytes)
    hash.update(frame)
    size += frame.length
  }
  book.interrupt(parseTime(at) ?? 0n, message)
  const why = new Map(noted.steps.map(step => [step.digest, step.why]))
  const steps = book.steps(new Map()).map(step => ({ ...step, why: why.get(step.digest) ?? [] }))
  return {
    ...noted,
    completedAt: at,
    error: { code, message },
    response: {},
    log: {
      ...{ mediaType: logType, digest: `sha256:${hash.digest('hex')}` as Digest, size },
      ...(size === 0 ? { bytes: '' } : {}),
    },
    ...(size === 0 ? {} : { counts: book.counts }),
    steps: size === 0 ? noted.steps : steps,
  }
}
