import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasCode } from '../../core/errors.ts'
import { digestOf } from '../../oci/digest.ts'
import { clientContent } from './content.ts'
import { type Blobs, openContentClient } from './testing/contentClient.ts'

const { signal } = new AbortController()

const blobOf = (bytes: Buffer) => ({ digest: digestOf(bytes), size: bytes.length })

const all = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(source))

async function* parts(...buffers: Buffer[]): AsyncGenerator<Uint8Array> {
  yield* buffers
}

test('blobs go into a folder of the client, and come from it, from any byte on', async () => {
  const blobs: Blobs = new Map()
  await using client = await openContentClient({ 'local:/cache': blobs })
  const content = clientContent(client.session, 'local:/cache')
  const bytes = Buffer.alloc(3_000_000, 'some text. ')
  const blob = blobOf(bytes)
  assert.equal(await content.info(blob.digest, signal), undefined)
  await content.write(blob, parts(bytes.subarray(0, 10), bytes.subarray(10)), signal)
  assert.deepEqual(await content.info(blob.digest, signal), blob)
  assert.ok((await all(content.read(blob.digest, { signal }))).equals(bytes))
  assert.equal((await all(content.read(blob.digest, { signal, offset: 2_999_990 }))).length, 10)
  const empty = blobOf(Buffer.alloc(0))
  await content.write(empty, parts(), signal)
  assert.equal(blobs.get(empty.digest)?.length, 0)
})

test('what is there is not written again', async () => {
  const bytes = Buffer.from('there')
  await using client = await openContentClient({ store: new Map([[digestOf(bytes), bytes]]) })
  await clientContent(client.session, 'store').write(blobOf(bytes), parts(bytes), signal)
})

test('what goes wrong is told by who is to blame', async () => {
  await using client = await openContentClient({ store: new Map() })
  const content = clientContent(client.session, 'store')
  const blob = blobOf(Buffer.from('one'))
  await assert.rejects(content.write(blob, parts(Buffer.from('other')), signal), /unexpected digest/)
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('o')
    throw new Error('the disk is broken')
  }
  await assert.rejects(content.write(blob, broken(), signal), /the disk is broken/)
  await assert.rejects(all(content.read(blob.digest, { signal })), error => hasCode(error, 'not-found'))
  await assert.rejects(
    all(clientContent(client.session, 'elsewhere').read(blob.digest, { signal })),
    /no such store/,
  )
})

test('a client that serves no folder is told so', async () => {
  const { openFolderClient } = await import('./testing/folderClient.ts')
  await using client = await openFolderClient({})
  assert.throws(() => clientContent(client.session, 'store'), /not supported by the client/)
})
