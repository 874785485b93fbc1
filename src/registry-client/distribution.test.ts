import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf } from '../oci/digest.ts'
import { mediaTypes } from '../oci/image.ts'
import { createRegistryClient } from './client.ts'
import { failure } from './failures.ts'
import { makeCertificates } from './testing/certificates.ts'
import {
  credentialsOf,
  never,
  pieces,
  quick,
  settingsOf,
  someBytes,
  startClient,
  startFolder,
  summary,
} from './testing/client.ts'
import { lacksDistribution, startDistribution } from './testing/distribution.ts'
import type { Credentials, RegistryClient } from './types.ts'

/** Everything that a pull and a push need, against a registry of others. */
const exchange = async (client: RegistryClient, address: string, credentials: Credentials | undefined) => {
  const repository = client.repository(address, 'team/app', credentials)
  const layer = someBytes(40 * 1024 * 1024)
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  })
  const layers = [describe(layer, mediaTypes.ociLayerGzip)]
  for (const [bytes, mediaType] of [
    [layer, mediaTypes.ociLayerGzip],
    [config, mediaTypes.ociConfig],
  ] as const) {
    const descriptor = describe(bytes, mediaType)
    assert.equal(await repository.hasBlob(descriptor.digest, never), false)
    await repository.uploadBlob(descriptor, pieces(bytes), { signal: never })
    assert.equal(await repository.hasBlob(descriptor.digest, never), true)
  }
  const put = async (body: object, mediaType: string, reference: string) => {
    const bytes = Buffer.from(JSON.stringify(body))
    const manifest = { bytes, descriptor: describe(bytes, mediaType) }
    await repository.putManifest(reference, manifest, never)
    return manifest
  }
  const manifest = await put(
    {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: describe(config, mediaTypes.ociConfig),
      layers,
    },
    mediaTypes.ociManifest,
    'v1',
  )
  const index = await put(
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [manifest.descriptor] },
    mediaTypes.ociIndex,
    'all',
  )
  assert.deepEqual(await repository.manifest('v1', never), manifest)
  assert.deepEqual(await repository.resolve('all', never), index.descriptor)
  assert.deepEqual(await repository.manifest(index.descriptor.digest, never), index)
  assert.deepEqual((await Array.fromAsync(repository.tags(never))).sort(), ['all', 'v1'])
  const [descriptor] = layers
  assert.ok(descriptor)
  assert.deepEqual(await summary(repository.blob(descriptor, { signal: never })), {
    size: layer.length,
    digest: descriptor.digest,
  })
  const rest = await summary(repository.blob(descriptor, { signal: never, offset: layer.length - 1000 }))
  assert.equal(rest.digest, digestOf(layer.subarray(-1000)))
  const other = client.repository(address, 'team/other', credentials)
  assert.equal(await other.mountBlob(descriptor.digest, 'team/app', never), true)
  assert.equal(await other.hasBlob(descriptor.digest, never), true)
  assert.equal(await other.mountBlob(digestOf('nothing'), 'team/app', never), false)
  await assert.rejects(repository.manifest('none', never), {
    code: 'manifest-unknown',
    message: /^manifest for .*team\/app:none not found: manifest unknown: manifest unknown$/,
  })
}

describe(`Debian's docker-registry${lacksDistribution ? `: ${lacksDistribution}` : ''}`, {
  skip: lacksDistribution !== undefined,
}, () => {
  test('takes and gives images over HTTP', async () => {
    await using registry = await startDistribution()
    await using client = startClient()
    await exchange(client, registry.address, undefined)
  })

  test('takes and gives images over TLS by an authority of certs.d, to a user of htpasswd', async () => {
    const certificates = makeCertificates()
    const user = { name: 'anna', password: 'secret' }
    await using registry = await startDistribution({ tls: certificates.server, user })
    using folder = startFolder({
      [registry.address]: {
        'hosts.toml': `server = "https://${registry.address}"\nca = "ca.crt"`,
        'ca.crt': certificates.authority,
      },
    })
    const client = createRegistryClient(settingsOf({ certificateFolders: [folder.path] }), quick)
    const anna = credentialsOf({ username: user.name, password: user.password })
    assert.deepEqual(await client.login(registry.address, anna, never), { identityToken: '' })
    await assert.rejects(client.login(registry.address, { ...anna, password: 'no' }, never), { status: 401 })
    await exchange(client, registry.address, anna)
    await assert.rejects(client.repository(registry.address, 'team/app', undefined).manifest('v1', never), {
      code: 'unauthorized',
    })
    await client.close()
  })

  test('takes up an upload that was cut', async () => {
    await using registry = await startDistribution()
    await using client = startClient()
    const repository = client.repository(registry.address, 'team/cut', undefined)
    const bytes = someBytes(33 * 1024 * 1024)
    const descriptor = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(bytes), size: bytes.length }
    const offsets: number[] = []
    let failures = 0
    const breaking = async function* (offset: number): AsyncGenerator<Uint8Array> {
      offsets.push(offset)
      let given = 0
      for await (const piece of pieces(bytes)(offset)) {
        given += piece.length
        // As a connection that is reset fails.
        if (offset > 0 && given > 5e6 && failures++ === 0)
          throw failure('registry-unreachable', 500, 'cut', { transient: true, spoke: true })
        yield piece
      }
    }
    const retries: number[] = []
    await repository.uploadBlob(descriptor, breaking, {
      signal: never,
      follower: { retry: (_why, at) => retries.push(at) },
    })
    assert.equal(retries.length, 1)
    assert.ok((offsets.at(-2) ?? 0) > 0, offsets.join())
    assert.equal((await summary(repository.blob(descriptor, { signal: never }))).digest, descriptor.digest)
  })
})
