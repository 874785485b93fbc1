import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { clientStore } from '../session/content.ts'
import { type ContentStores, openStoreClient } from '../session/testing/contentStores.ts'
import { clientSource, clientTarget, readClientCache } from './clientCache.ts'
import { cacheConfigType } from './types.ts'

const { signal } = new AbortController()

type Blobs = Map<string, Uint8Array>

const descriptorOf = (bytes: Buffer) => ({ mediaType: 'x', digest: digestOf(bytes), size: bytes.length })

const putJson = (blobs: Blobs, value: unknown) => {
  const bytes = Buffer.from(JSON.stringify(value))
  blobs.set(digestOf(bytes), bytes)
  return descriptorOf(bytes)
}

/** A client with one folder. */
const folderOf = async (blobs: Blobs) => {
  const stores: ContentStores = { stores: { 'local:/c': blobs }, unfinished: new Map() }
  const { session, ...rest } = await openStoreClient(stores)
  return {
    client: { store: (id: string, asking: AbortSignal) => clientStore(session, id, asking) },
    [Symbol.asyncDispose]: () => rest[Symbol.asyncDispose](),
  }
}

const key = digestOf('key')
const form = { layers: [], records: [{ digest: key, berth: { keys: [key], chain: key, bases: [] } }] }

test('a cache is read by its manifest or its index, and what is damaged is refused', async () => {
  const blobs: Blobs = new Map()
  await using place = await folderOf(blobs)
  const read = (digest: Digest) =>
    readClientCache({ client: place.client, folder: '/c', digest, reference: 'r', signal })
  const config = { ...putJson(blobs, form), mediaType: cacheConfigType }
  const manifest = putJson(blobs, { config, layers: [] })
  const index = putJson(blobs, { manifests: [config] })
  for (const { digest } of [manifest, index]) assert.equal((await read(digest)).records[0]?.chain, key)
  await assert.rejects(read(digestOf('nothing')), /is not in \/c/)
  await assert.rejects(read(putJson(blobs, { manifests: [] }).digest), /there is no cache of builds in \/c/)
  blobs.set(config.digest, Buffer.from('{}'))
  await assert.rejects(read(manifest.digest), /verification failed/)
})

test('its layers come as those of a repository do', async () => {
  const bytes = Buffer.alloc(5000, 'layer')
  await using place = await folderOf(new Map([[digestOf(bytes), bytes]]))
  const { blob } = clientSource(place.client, '/c')
  const came = Buffer.concat(await Array.fromAsync(blob(descriptorOf(bytes), { signal, offset: 4000 })))
  assert.ok(came.equals(bytes.subarray(4000)))
})

test('a cache goes into the folder, but for what it has', async () => {
  const [there, fresh, root] = ['there', 'fresh', 'root'].map(text => Buffer.from(text)) as [
    Buffer,
    Buffer,
    Buffer,
  ]
  const blobs: Blobs = new Map([[digestOf(there), there]])
  await using place = await folderOf(blobs)
  const opened: Digest[] = []
  const target = clientTarget(place.client, {
    ...{ folder: '/c', signal },
    open: async function* (digest) {
      opened.push(digest)
      yield fresh
    },
  })
  assert.deepEqual(
    [await target.has(descriptorOf(there)), await target.has(descriptorOf(fresh))],
    [true, false],
  )
  await target.send([there, fresh].map(descriptorOf))
  await target.finish({ descriptor: descriptorOf(root), bytes: root })
  assert.deepEqual(opened, [digestOf(fresh)])
  assert.deepEqual(
    [...blobs.keys()],
    [there, fresh, root].map(bytes => digestOf(bytes)),
  )
})

test('a client without a session has no folder', () => {
  assert.throws(
    () => clientTarget({ store: () => undefined }, { folder: '/c', signal, open: async function* () {} }),
    {
      message: /wants a client with a session/,
    },
  )
})
