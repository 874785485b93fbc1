import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { BerthError, hasCode, internal } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import {
  AbortRequestSchema,
  Content,
  InfoRequestSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from '../../wire/buildkit/content_pb.ts'
import type { GrpcStream } from './grpcStream.ts'
import { bytesOf, pieces } from './messageBytes.ts'
import { type CallOptions, pathOf, type Session } from './session.ts'

/** Blobs that a client has in stores of its own, each under an id: OCI layouts (`oci:…`), folders for caches (`local:…`). */

const storeField = 'buildkit-attachable-store-id'

/** How long a write that failed may take to be forgotten. Milliseconds. */
const patience = 5_000

export interface BlobRange {
  offset?: number
  /** Bytes; all that follow unless told. */
  size?: number
}

/** Errors of all: those of a call; `bad-request` where the client has no such stores. */
export interface ClientStore {
  /** Size in bytes. Errors: `not-found`. */
  info(digest: Digest): Promise<{ size: number }>
  /** As the client has it: who reads checks the digest. Ending the iteration early cancels it. Errors: `not-found`. */
  read(digest: Digest, range?: BlobRange): AsyncGenerator<Uint8Array>
  /** Nothing is sent of what is there already. `bytes` are as many as the blob has; the client checks the digest. Errors: those of `bytes`. */
  write(blob: Pick<Descriptor, 'digest' | 'size'>, bytes: AsyncIterable<Uint8Array>): Promise<void>
}

type Part = MessageInitShape<typeof WriteContentRequestSchema>

/** Sends one part of a blob, and awaits that the client has it. */
const sendPart = async (stream: GrpcStream, answers: AsyncIterator<unknown>, part: Part): Promise<void> => {
  await stream.send(WriteContentRequestSchema, create(WriteContentRequestSchema, part))
  if ((await answers.next()).done) throw internal('the client ended a write before it was complete')
}

const writeParts = async (
  stream: GrpcStream,
  { blob, ref }: { blob: Pick<Descriptor, 'digest' | 'size'>; ref: string },
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> => {
  const answers = stream.messages(WriteContentResponseSchema)
  const whole = { ref, total: BigInt(blob.size), expected: blob.digest as string }
  await sendPart(stream, answers, { action: WriteAction.STAT, ...whole })
  let offset = 0
  for await (const chunk of bytes)
    for (const data of pieces(chunk)) {
      // At 0 it begins anew, whatever an earlier attempt has left.
      await sendPart(stream, answers, { action: WriteAction.WRITE, ref, offset: BigInt(offset), data })
      offset += data.length
    }
  if (offset !== blob.size) throw internal(`blob ${blob.digest} has ${offset} bytes instead of ${blob.size}`)
  await sendPart(stream, answers, { action: WriteAction.COMMIT, ...whole, offset: BigInt(offset) })
}

export const clientStore = (session: Session, id: string, signal: AbortSignal): ClientStore => {
  const options = (own = signal): CallOptions => {
    if (!session.supports(pathOf(Content.method.info)))
      throw new BerthError('bad-request', 400, 'the client has no stores of blobs to be read or written')
    return { signal: own, metadata: { [storeField]: [id] } }
  }
  /** The client may have kept a part of what is not wanted any more. */
  const abort = async (ref: string): Promise<void> => {
    const request = create(AbortRequestSchema, { ref })
    await session.unary(Content.method.abort, request, options(AbortSignal.timeout(patience)))
  }
  return {
    info: async digest => {
      const request = create(InfoRequestSchema, { digest })
      const { info } = await session.unary(Content.method.info, request, options())
      return { size: Number(info?.size ?? 0) }
    },
    read: async function* (digest, { offset = 0, size = 0 } = {}) {
      using stream = session.stream(pathOf(Content.method.read), options())
      const request = { digest, offset: BigInt(offset), size: BigInt(size) }
      await stream.send(ReadContentRequestSchema, create(ReadContentRequestSchema, request))
      stream.endSending()
      yield* bytesOf(stream.messages(ReadContentResponseSchema))
    },
    write: async (blob, bytes) => {
      const ref = `berth-${blob.digest}`
      try {
        using stream = session.stream(pathOf(Content.method.write), options())
        await writeParts(stream, { blob, ref }, bytes)
      } catch (error) {
        if (hasCode(error, 'conflict')) return
        await abort(ref).catch(() => {})
        throw error
      }
    },
  }
}
