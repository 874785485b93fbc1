import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { Content, WriteAction, type WriteContentRequest } from '../../../wire/buildkit/content_pb.ts'
import { openClient, type TestClient } from './client.ts'

/** Clients that serve folders of blobs, in memory. */

const method = '/containerd.services.content.v1.Content/Info'

export type Blobs = Map<Digest, Buffer>

/** Answers each message, and keeps what has the digest that was told. */
async function* take(blobs: Blobs, requests: AsyncIterable<WriteContentRequest>) {
  let bytes = Buffer.alloc(0)
  for await (const { action, data, offset, expected } of requests) {
    if (blobs.has(expected as Digest)) throw new ConnectError(`blob ${expected} exists`, Code.AlreadyExists)
    if (Number(offset) !== bytes.length) throw new ConnectError('not here', Code.OutOfRange)
    bytes = Buffer.concat([bytes, data])
    if (action === WriteAction.COMMIT) {
      const digest = digestOf(bytes)
      if (digest !== expected) throw new ConnectError(`unexpected digest ${digest}`, Code.FailedPrecondition)
      blobs.set(digest, bytes)
    }
    yield { action, offset: BigInt(bytes.length) }
    if (action === WriteAction.COMMIT) return
  }
}

/** By the names of the stores. */
export const openContentClient = (stores: Record<string, Blobs>): Promise<TestClient> => {
  const storeOf = ({ requestHeader }: HandlerContext): Blobs => {
    const found = stores[requestHeader.get('buildkit-attachable-store-id') ?? '']
    if (!found) throw new ConnectError('no such store', Code.NotFound)
    return found
  }
  const blobOf = (context: HandlerContext, digest: string): Buffer => {
    const found = storeOf(context).get(digest as Digest)
    if (!found) throw new ConnectError(`content digest ${digest}: not found`, Code.NotFound)
    return found
  }
  const routes = (router: ConnectRouter): void => {
    router.service(Content, {
      info: ({ digest }, context) => ({
        info: { digest, size: BigInt(blobOf(context, digest).length) },
      }),
      async *read({ digest, offset }, context) {
        const bytes = blobOf(context, digest)
        for (let at = Number(offset); at < bytes.length; at += 1000)
          yield { offset: BigInt(at), data: bytes.subarray(at, at + 1000) }
      },
      write: (requests, context) => take(storeOf(context), requests),
    })
  }
  return openClient(routes, [method])
}
