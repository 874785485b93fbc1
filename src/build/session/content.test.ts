import assert from 'node:assert/strict'
import { test } from 'node:test'
import { patience } from '../../../tests/harness/shell.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { clientStore } from './content.ts'
import { openClient } from './testing/client.ts'
import { type ContentStores, openStoreClient } from './testing/contentStores.ts'

const signal = AbortSignal.timeout(30_000 * patience)
const large = Buffer.alloc(3_000_000, 'text ')
const digest = digestOf(large)

const storesWith = (...blobs: Uint8Array[]): ContentStores => ({
  stores: { 'oci:x': new Map(blobs.map(bytes => [digestOf(bytes), bytes])), 'local:y': new Map() },
  unfinished: new Map(),
})

const joined = async (bytes: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(bytes))

async function* given(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

test('blobs of a store are told of and read, whole and in part', async () => {
  await using client = await openStoreClient(storesWith(large))
  const store = clientStore(client.session, 'oci:x', signal)
  assert.deepEqual(await store.info(digest), { size: large.length })
  assert.deepEqual(await joined(store.read(digest)), large)
  assert.deepEqual(await joined(store.read(digest, { offset: 5, size: 10 })), large.subarray(5, 15))
  for await (const bytes of store.read(digest)) {
    assert.ok(bytes.length > 0)
    break
  }
  const absent: Digest = `sha256:${'0'.repeat(64)}`
  await assert.rejects(store.info(absent), { code: 'not-found' })
  await assert.rejects(joined(store.read(absent)), { code: 'not-found' })
  await assert.rejects(clientStore(client.session, 'oci:z', signal).info(digest), { code: 'not-found' })
})

test('a blob is written once, and nothing is left of one that fails', async () => {
  const stores = storesWith()
  await using client = await openStoreClient(stores)
  const store = clientStore(client.session, 'local:y', signal)
  const blob = { digest, size: large.length }
  await store.write(blob, given(large.subarray(0, 7), large.subarray(7)))
  assert.deepEqual(stores.stores['local:y']?.get(digest), large)
  const unread = given(large)
  await store.write(blob, unread)
  assert.equal((await unread.next()).done, false, 'what is there is not sent again')
  const other = { digest: digestOf(Buffer.from('other')), size: 5 }
  await assert.rejects(store.write(other, given(Buffer.from('wrong'))), /unexpected commit digest/)
  await assert.rejects(store.write(other, given(Buffer.from('four'))), /has 4 bytes instead of 5/)
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('ot')
    throw new Error('disk')
  }
  await assert.rejects(store.write(other, failing()), /disk/)
  assert.deepEqual([stores.unfinished.size, stores.stores['local:y']?.size], [0, 1])
  // Of an earlier attempt whose client has gone.
  stores.unfinished.set(`berth-${other.digest}`, Buffer.from('left'))
  await store.write(other, given(Buffer.from('other')))
  const empty = { digest: digestOf(Buffer.alloc(0)), size: 0 }
  await store.write(empty, given())
  assert.equal(stores.stores['local:y']?.size, 3)
})

test('a client without stores is told so', async () => {
  await using client = await openClient(() => {}, [])
  const store = clientStore(client.session, 'oci:x', signal)
  await assert.rejects(store.info(digest), { code: 'bad-request', message: /has no stores of blobs/ })
})
