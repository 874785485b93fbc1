import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import { digestOf } from '../../../oci/digest.ts'
import { Content, WriteAction, type WriteContentRequest } from '../../../wire/buildkit/content_pb.ts'
import { openClient, type TestClient } from './client.ts'

/** A client with stores of blobs, as containerd's content server serves them. */

export interface ContentStores {
  /** By the store's id, and by digest. */
  stores: Record<string, Map<string, Uint8Array>>
  /** What has been begun and not committed, by its ref. */
  unfinished: Map<string, Buffer>
  /** Bytes of one message of a read. */
  piece?: number
}

const storeOf = ({ stores }: ContentStores, { requestHeader }: HandlerContext): Map<string, Uint8Array> => {
  const found = stores[requestHeader.get('buildkit-attachable-store-id') ?? '']
  if (!found) throw new ConnectError('unknown store', Code.NotFound)
  return found
}

const blobOf = (store: Map<string, Uint8Array>, digest: string): Uint8Array => {
  const found = store.get(digest)
  if (!found) throw new ConnectError(`content ${digest}: not found`, Code.NotFound)
  return found
}

async function* write(
  { unfinished }: ContentStores,
  store: Map<string, Uint8Array>,
  requests: AsyncIterable<WriteContentRequest>,
) {
  let ref = ''
  for await (const { action, data, offset, expected, ...request } of requests) {
    ref ||= request.ref
    if (store.has(expected)) throw new ConnectError(`blob ${expected} exists`, Code.AlreadyExists)
    const there = unfinished.get(ref) ?? Buffer.alloc(0)
    if (offset > 0n && Number(offset) !== there.length)
      throw new ConnectError('write must occur at current offset', Code.OutOfRange)
    const kept = action === WriteAction.STAT ? there : there.subarray(0, Number(offset))
    const written = Buffer.concat([kept, data])
    unfinished.set(ref, written)
    if (action === WriteAction.COMMIT) {
      if (digestOf(written) !== expected)
        throw new ConnectError('unexpected commit digest', Code.FailedPrecondition)
      store.set(expected, written)
      unfinished.delete(ref)
    }
    yield { action, offset: BigInt(written.length) }
    if (action === WriteAction.COMMIT) return
  }
}

const serviceOf = (client: ContentStores): Partial<ServiceImpl<typeof Content>> => ({
  info: ({ digest }, context) => {
    const bytes = blobOf(storeOf(client, context), digest)
    return { info: { digest, size: BigInt(bytes.length) } }
  },
  async *read({ digest, offset, size }, context) {
    const all = blobOf(storeOf(client, context), digest)
    const bytes = all.subarray(Number(offset), size > 0n ? Number(offset + size) : all.length)
    const piece = client.piece ?? 32 * 1024
    for (let at = 0; at < bytes.length; at += piece)
      yield { offset: BigInt(at), data: bytes.subarray(at, at + piece) }
  },
  write: (requests, context) => write(client, storeOf(client, context), requests),
  abort: ({ ref }) => {
    client.unfinished.delete(ref)
    return {}
  },
})

export const openStoreClient = (client: ContentStores): Promise<TestClient> =>
  openClient(
    router => void router.service(Content, serviceOf(client)),
    ['Info', 'Read', 'Write', 'Abort'].map(name => `/${Content.typeName}/${name}`),
  )
