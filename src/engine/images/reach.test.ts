import assert from 'node:assert/strict'
import { test } from 'node:test'
import { notFound } from '../../core/errors.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { type Descriptor, mediaTypes } from '../../oci/image.ts'
import type { Engine } from '../engine.ts'
import { manifestsBelow } from './reach.ts'

/** A store of documents that counts how often one is read. */
const openStore = () => {
  const documents = new Map<Digest, Buffer>()
  let reads = 0
  const content = {
    bytes: async (digest: Digest): Promise<Buffer> => {
      reads++
      const found = documents.get(digest)
      if (!found) throw notFound(digest)
      return found
    },
  }
  const put = (mediaType: string, value: object): Descriptor => {
    const bytes = Buffer.from(JSON.stringify(value))
    const digest = digestOf(bytes)
    documents.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  return { engine: { content } as unknown as Engine, put, reads: () => reads }
}

test('an index that is listed over and over is read once', async () => {
  const { engine, put, reads } = openStore()
  const config = { mediaType: mediaTypes.ociConfig, digest: digestOf('config'), size: 1 }
  const manifest = put(mediaTypes.ociManifest, { schemaVersion: 2, config, layers: [] })
  let index = put(mediaTypes.ociIndex, { schemaVersion: 2, manifests: [manifest] })
  for (let level = 0; level < 3; level++)
    index = put(mediaTypes.ociIndex, { schemaVersion: 2, manifests: Array.from({ length: 30 }, () => index) })
  const found = await manifestsBelow(engine, index)
  assert.deepEqual(
    found.map(({ descriptor, path }) => [descriptor.digest, path.length]),
    [[manifest.digest, 4]],
  )
  assert.equal(reads(), 5)
})

test('a manifest that stands for two platforms is listed for both', async () => {
  const { engine, put } = openStore()
  const config = { mediaType: mediaTypes.ociConfig, digest: digestOf('config'), size: 1 }
  const manifest = put(mediaTypes.ociManifest, { schemaVersion: 2, config, layers: [] })
  const platforms = ['v6', 'v7'].map(variant => ({ os: 'linux', architecture: 'arm', variant }))
  const manifests = platforms.map(platform => ({ ...manifest, platform }))
  const found = await manifestsBelow(engine, put(mediaTypes.ociIndex, { schemaVersion: 2, manifests }))
  assert.deepEqual(
    found.map(({ descriptor }) => descriptor.platform),
    platforms,
  )
})
