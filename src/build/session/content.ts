import { create } from '@bufbuild/protobuf'
import { BerthError, hasCode, unlessCode } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobInfo } from '../../store/types.ts'
import {
  Content,
  InfoRequestSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from '../../wire/buildkit/content_pb.ts'
import type { GrpcStream } from './grpcStream.ts'
import { pathOf, type Session } from './session.ts'

/** Blobs in a folder of the client, which serves it as containerd's content service (containerd.services.content.v1). */
export interface ClientContent {
  /** Undefined where it is not there. */
  info(digest: Digest, signal: AbortSignal): Promise<BlobInfo | undefined>
  /** From `offset` on. Not verified. Errors: `not-found`, those of a call. */
  read(digest: Digest, options: { offset?: number; signal: AbortSignal }): AsyncIterable<Uint8Array>
  /** The client verifies it. One that is there stays. Errors: those of a call, of the source. */
  write(blob: BlobInfo, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>
}

/** Bytes of a message: gRPC's servers take 4 MiB at most. */
const pieceSize = 1024 * 1024

async function* piecesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source)
    for (let at = 0; at < chunk.length; at += pieceSize) yield chunk.subarray(at, at + pieceSize)
}

const sendBlob = async (
  stream: GrpcStream,
  { digest, size }: BlobInfo,
  source: AsyncIterable<Uint8Array>,
): Promise<void> => {
  const about = { ref: digest, total: BigInt(size), expected: digest }
  const send = (action: WriteAction, offset: number, data: Uint8Array): Promise<void> =>
    stream.send(
      WriteContentRequestSchema,
      create(WriteContentRequestSchema, { ...about, action, offset: BigInt(offset), data }),
    )
  let offset = 0
  for await (const data of piecesOf(source)) {
    await send(WriteAction.WRITE, offset, data)
    offset += data.length
  }
  await send(WriteAction.COMMIT, offset, Buffer.alloc(0))
  stream.endSending()
}

/** The client answers each message; the last answer is to the commit. */
const readAnswers = async (stream: GrpcStream, { digest }: BlobInfo): Promise<void> => {
  let isCommitted = false
  for await (const { action } of stream.messages(WriteContentResponseSchema))
    isCommitted = action === WriteAction.COMMIT
  if (!isCommitted) throw new BerthError('bad-message', 500, `the client did not say that it keeps ${digest}`)
}

const writeBlob = async (
  stream: GrpcStream,
  blob: BlobInfo,
  source: AsyncIterable<Uint8Array>,
): Promise<void> => {
  const [answered, sent] = await Promise.allSettled([
    readAnswers(stream, blob).finally(() => stream.close()),
    sendBlob(stream, blob, source).catch((error: unknown) => {
      // The answer tells why, unless the source is to blame.
      stream.close()
      throw error
    }),
  ])
  const isThere = answered.status === 'rejected' && hasCode(answered.reason, 'conflict')
  if (answered.status === 'fulfilled' || isThere) return
  if (sent.status === 'rejected' && !hasCode(sent.reason, 'session-closed')) throw sent.reason
  throw answered.reason
}

/** `store`: the folder by the client's own name. Errors: `bad-request` where the client serves none. */
export const clientContent = (session: Session, store: string): ClientContent => {
  const path = pathOf(Content.method.info)
  if (!session.supports(path))
    throw new BerthError('bad-request', 400, `method ${path} not supported by the client`)
  const metadata = { 'buildkit-attachable-store-id': [store] }
  return {
    info: async (digest, signal) => {
      const request = create(InfoRequestSchema, { digest })
      const asked = session.unary(Content.method.info, request, { signal, metadata })
      const info = (await unlessCode(asked, 'not-found'))?.info
      return info && { digest, size: Number(info.size) }
    },
    read: async function* (digest, { offset = 0, signal }) {
      using stream = session.stream(pathOf(Content.method.read), { signal, metadata })
      const request = create(ReadContentRequestSchema, { digest, offset: BigInt(offset) })
      await stream.send(ReadContentRequestSchema, request)
      stream.endSending()
      for await (const { data } of stream.messages(ReadContentResponseSchema)) if (data.length > 0) yield data
    },
    write: async (blob, source, signal) => {
      using stream = session.stream(pathOf(Content.method.write), { signal, metadata })
      await writeBlob(stream, blob, source)
    },
  }
}
