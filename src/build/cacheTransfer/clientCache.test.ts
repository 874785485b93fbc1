import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { type Blobs, openContentClient } from '../session/testing/contentClient.ts'
import { clientRepository, contentOf, readClientCache } from './clientCache.ts'
import { cacheConfigType } from './types.ts'

const { signal } = new AbortController()

const putJson = (blobs: Blobs, value: unknown) => {
  const bytes = Buffer.from(JSON.stringify(value))
  blobs.set(digestOf(bytes), bytes)
  return { digest: digestOf(bytes), size: bytes.length }
}

const key = digestOf('key')
const form = { layers: [], records: [{ digest: key, berth: { keys: [key], chain: key, bases: [] } }] }

test('a cache is read by its manifest or its index, and what is damaged is refused', async () => {
  const blobs: Blobs = new Map()
  await using client = await openContentClient({ 'local:/c': blobs })
  const content = contentOf(client.session, '/c')
  const read = (digest: ReturnType<typeof digestOf>) =>
    readClientCache(content, { folder: '/c', digest, reference: 'r' }, signal)
  const config = { ...putJson(blobs, form), mediaType: cacheConfigType }
  const manifest = putJson(blobs, { config, layers: [] })
  const index = putJson(blobs, { manifests: [config] })
  for (const { digest } of [manifest, index]) assert.equal((await read(digest)).records[0]?.chain, key)
  await assert.rejects(read(digestOf('nothing')), /is not in \/c/)
  await assert.rejects(read(putJson(blobs, { manifests: [] }).digest), /there is no cache of builds in \/c/)
  blobs.set(config.digest, Buffer.from('{}'))
  await assert.rejects(read(manifest.digest), /damaged: .* holds something else/)
})

test('its layers come as those of a repository do', async () => {
  const bytes = Buffer.alloc(5000, 'layer')
  await using client = await openContentClient({ 'local:/c': new Map([[digestOf(bytes), bytes]]) })
  const repository = clientRepository(contentOf(client.session, '/c'))
  const descriptor = { digest: digestOf(bytes), size: bytes.length, mediaType: 'layer' }
  const came = Buffer.concat(await Array.fromAsync(repository.blob(descriptor, { signal, offset: 4000 })))
  assert.ok(came.equals(bytes.subarray(4000)))
})
