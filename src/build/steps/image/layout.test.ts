import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../../oci/digest.ts'
import { type ImageConfig, mediaTypes } from '../../../oci/image.ts'
import { parseReference } from '../../../oci/reference.ts'
import { clientStore } from '../../session/content.ts'
import { openStoreClient } from '../../session/testing/contentStores.ts'
import { layoutOf } from './layout.ts'
import { imageOf } from './resolve.ts'

const signal = AbortSignal.timeout(30_000)
const platform = { os: 'linux', architecture: 'amd64' }

const blobs = new Map<string, Uint8Array>()
const put = (value: unknown) => {
  const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  const digest = digestOf(bytes)
  blobs.set(digest, bytes)
  return { digest, size: bytes.length }
}

const imageFor = (architecture: string) => {
  const layer = put(`layer of ${architecture}`)
  const config: ImageConfig = {
    ...{ os: 'linux', architecture },
    rootfs: { type: 'layers', diff_ids: [digestOf(Buffer.from(architecture))] },
  }
  const manifest = put({
    schemaVersion: 2,
    config: { mediaType: mediaTypes.ociConfig, ...put(config) },
    layers: [{ mediaType: mediaTypes.ociLayer, ...layer }],
  })
  return {
    layer,
    manifest: { mediaType: mediaTypes.ociManifest, ...manifest, platform: { os: 'linux', architecture } },
  }
}

const [amd64, arm64] = [imageFor('amd64'), imageFor('arm64')]
const index = put({ schemaVersion: 2, manifests: [arm64.manifest, amd64.manifest] })
const damaged = put({ schemaVersion: 2, manifests: [] })
blobs.set(damaged.digest, Buffer.from('{}'))

test('an image of a layout is found by the digest of its manifest or index, for a platform', async () => {
  await using client = await openStoreClient({ stores: { 'oci:s': blobs }, unfinished: new Map() })
  const source = layoutOf({ store: (id, own) => clientStore(client.session, id, own) }, 's')
  const found = async (digest: string) =>
    await imageOf(source, { platform, signal }, parseReference(`docker.io/library/x@${digest}`))
  for (const digest of [index.digest, amd64.manifest.digest]) {
    const { config, digest: own, tree } = await found(digest)
    assert.deepEqual([config.architecture, own], ['amd64', digest])
    const [layer] = tree.layers
    assert.ok(layer?.kind === 'image')
    assert.deepEqual([layer.blob, layer.size], [amd64.layer.digest, amd64.layer.size])
  }
  const bytes = await Array.fromAsync(source.blob({ mediaType: '', ...amd64.layer }, { signal, offset: 6 }))
  assert.equal(Buffer.concat(bytes).toString(), 'of amd64')
  const absent = digestOf(Buffer.from('absent'))
  await assert.rejects(found(absent), {
    code: 'not-found',
    message: `the OCI layout of the client has no blob ${absent}`,
  })
  await assert.rejects(found(damaged.digest), /the OCI layout of the client is damaged/)
  await assert.rejects(source.manifest('latest', signal), /named by its digest, not by latest/)
  await assert.rejects(layoutOf({ store: () => undefined }, 's').manifest(absent, signal), /wants a client/)
})
