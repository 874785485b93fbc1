import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import type { HistoryBlob } from '../../build/history/history.ts'
import { badRequest } from '../../core/errors.ts'
import { isDigest } from '../../oci/digest.ts'
import type { Content, ReadContentRequest } from '../../wire/buildkit/content_pb.ts'
import { grpcError, told } from './grpcErrors.ts'
import type { Builder } from './types.ts'

/** `containerd.services.content.v1.Content`, for reading what records of builds name: logs, errors, images. */

const blobOf = async ({ blob }: Builder, digest: string): Promise<HistoryBlob> => {
  if (!isDigest(digest)) throw badRequest(`${JSON.stringify(digest)} failed validation: it is no digest`)
  const found = await blob?.(digest)
  if (!found) throw new ConnectError(`content ${digest}: not found`, Code.NotFound)
  return found
}

const partOf = ({ size }: HistoryBlob, request: ReadContentRequest): { start: number; size: number } => {
  const start = Math.max(0, Number(request.offset))
  if (start > size) throw badRequest(`read past object length ${size} bytes`)
  const wanted = Number(request.size)
  const left = size - start
  return { start, size: wanted > 0 ? Math.min(wanted, left) : left }
}

async function* read(
  builder: Builder,
  request: ReadContentRequest,
): AsyncGenerator<{ offset: bigint; data: Uint8Array }> {
  try {
    const blob = await blobOf(builder, request.digest)
    const part = partOf(blob, request)
    if (part.size === 0) return
    let offset = part.start
    for await (const data of blob.read(part)) {
      yield { offset: BigInt(offset), data }
      offset += data.length
    }
  } catch (error) {
    throw grpcError(error, builder)
  }
}

export const contentService = (builder: Builder): Partial<ServiceImpl<typeof Content>> => ({
  info: ({ digest }) =>
    told({ builder }, async () => ({
      info: { digest, size: BigInt((await blobOf(builder, digest)).size) },
    })),
  read: request => read(builder, request),
})
