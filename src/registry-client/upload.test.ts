import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf } from '../oci/digest.ts'
import { mediaTypes } from '../oci/image.ts'
import { credentialsOf, never, pieces, someBytes, startClient } from './testing/client.ts'
import { type Fault, type Seen, startRegistry, type TestRegistryOptions } from './testing/registry.ts'
import type { TransferFollower } from './types.ts'
import { defaultChunk } from './upload.ts'

const descriptorOf = (bytes: Buffer) => ({
  mediaType: mediaTypes.ociLayerGzip,
  digest: digestOf(bytes),
  size: bytes.length,
})

const start = async (options: TestRegistryOptions = {}) => {
  const registry = await startRegistry(options)
  const client = startClient()
  return {
    registry,
    client,
    repository: client.repository(registry.address, 'team/app', undefined),
    async [Symbol.asyncDispose]() {
      await client.close()
      await registry[Symbol.asyncDispose]()
    },
  }
}

const large = someBytes(2 * defaultChunk + 12_345)
const small = someBytes(100_000)

/** Sends bytes to a registry whose answers are faulty. */
const sent = async (
  bytes: Buffer,
  fault: (seen: Seen) => Fault | undefined,
  options: TestRegistryOptions = {},
) => {
  await using host = await start(options)
  host.registry.fault(seen => (seen.url.includes('/uploads/') ? fault(seen) : undefined))
  const told: number[] = []
  const retries: string[] = []
  const follower: TransferFollower = { retry: why => retries.push(why) }
  await host.repository.uploadBlob(descriptorOf(bytes), pieces(bytes), {
    signal: never,
    sent: bytes => told.push(bytes),
    follower,
  })
  assert.ok(host.registry.blobs.get(digestOf(bytes))?.equals(bytes))
  assert.equal(host.registry.uploads.sessions.size, 0)
  return { registry: host.registry, told, retries }
}

describe('an upload', () => {
  test('of a small blob takes two requests', async () => {
    const { registry, told } = await sent(small, () => undefined)
    assert.equal(registry.count('POST', /uploads/), 1)
    assert.equal(registry.count('PUT', /uploads/), 1)
    assert.equal(registry.count('PATCH', /uploads/), 0)
    assert.equal(told.at(-1), small.length)
    assert.equal((await sent(Buffer.of(), () => undefined)).registry.uploads.received, 0)
  })

  test('of a large blob goes in chunks, and tells how far it is', async () => {
    const { registry, told } = await sent(large, () => undefined)
    assert.deepEqual(registry.uploads.chunks, [defaultChunk, defaultChunk, 12_345])
    assert.deepEqual(
      told,
      [...told].sort((a, b) => a - b),
    )
    assert.equal(told.at(-1), large.length)
    const [first, second] = registry.seen.filter(seen => seen.method === 'PATCH')
    assert.equal(first?.headers['content-range'], `0-${defaultChunk - 1}`)
    assert.equal(second?.headers['content-range'], `${defaultChunk}-${2 * defaultChunk - 1}`)
  })

  test('heeds the least length of a chunk that a registry wants, and places that are told by a path', async () => {
    const { registry } = await sent(large, () => undefined, {
      shortestChunk: 20 * 1024 * 1024,
      relativeLocations: true,
    })
    assert.deepEqual(registry.uploads.chunks, [20 * 1024 * 1024, large.length - 20 * 1024 * 1024])
  })

  test('goes in one piece where chunks are refused', async () => {
    const { registry } = await sent(large, () => undefined, { noChunks: true })
    assert.equal(registry.count('PATCH', /uploads/), 1)
    assert.equal(registry.count('DELETE', /uploads/), 1)
    assert.equal(registry.count('PUT', /uploads/), 1)
  })

  test('goes in one piece where a registry never tells rightly what it has', async () => {
    for (const range of ['0-0', '0-99999999999']) {
      const { registry } = await sent(large, seen =>
        seen.method === 'PATCH' ? { headers: { range } } : undefined,
      )
      assert.equal(registry.count('PUT', /uploads/), 1)
      assert.ok(registry.count('PATCH', /uploads/) <= 5)
    }
  })

  test('is taken up after a cut at what the registry has, and sends nothing of it twice', async () => {
    const cuts = [5_000_000, undefined, 7_000_000, 1_000]
    let patches = 0
    const { registry, retries } = await sent(large, seen => {
      const cut = seen.method === 'PATCH' ? cuts[patches++] : undefined
      return cut === undefined ? undefined : { cutUploadAfter: cut }
    })
    assert.equal(retries.length, 3)
    assert.equal(registry.uploads.received, large.length)
    assert.equal(registry.count('POST', /uploads/), 1)
  })

  test('begins again where its session is lost', async () => {
    let lost = false
    const { registry } = await sent(large, seen => {
      if (seen.method !== 'PATCH' || lost || seen.headers['content-range']?.startsWith('0-')) return undefined
      lost = true
      return { status: 404, text: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}' }
    })
    assert.ok(lost)
    assert.ok(registry.blobs.size === 1)
    await using host = await start()
    let forgotten = false
    host.registry.fault(seen => {
      if (seen.method !== 'PATCH' || forgotten || seen.headers['content-range']?.startsWith('0-'))
        return undefined
      forgotten = true
      host.registry.uploads.sessions.clear()
      return undefined
    })
    await host.repository.uploadBlob(descriptorOf(large), pieces(large), { signal: never })
    assert.ok(forgotten && host.registry.blobs.has(digestOf(large)))
    assert.equal(host.registry.count('POST', /uploads/), 2)
  })

  test('is done where the registry took it and only its answer was lost', async () => {
    await using host = await start()
    host.registry.fault(seen => {
      if (seen.method !== 'PUT') return undefined
      host.registry.addBlob(small)
      return { cutUploadAfter: small.length }
    })
    await host.repository.uploadBlob(descriptorOf(small), pieces(small), { signal: never })
    assert.equal(host.registry.count('PUT', /uploads/), 1)
    assert.equal(host.registry.count('HEAD', /blobs/), 1)
  })

  test('goes on after errors of the server and Retry-After', async () => {
    const { retries } = await sent(large, seen =>
      seen.times === 0
        ? { status: seen.method === 'POST' ? 503 : 429, headers: { 'retry-after': '0' } }
        : undefined,
    )
    assert.ok(retries.length >= 3)
  })

  test('of bytes that are not those of the digest is refused, and leaves no session', async () => {
    await using host = await start()
    const other = { ...descriptorOf(small), digest: digestOf('other') }
    await assert.rejects(host.repository.uploadBlob(other, pieces(small), { signal: never }), {
      code: 'digest-mismatch',
    })
    await assert.rejects(
      host.repository.uploadBlob({ ...descriptorOf(small), size: small.length + 1 }, pieces(small), {
        signal: never,
      }),
      { code: 'blob-short', message: /ended 1 bytes early/ },
    )
    assert.equal(host.registry.uploads.sessions.size, 0)
  })

  test('whose source fails is not tried again, and tells the source’s error', async () => {
    await using host = await start()
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield small.subarray(0, 10)
      throw new Error('the disk is gone')
    }
    await assert.rejects(host.repository.uploadBlob(descriptorOf(small), failing, { signal: never }), {
      message: 'the disk is gone',
    })
    assert.equal(host.registry.uploads.sessions.size, 0)
    assert.ok(host.registry.count('POST', /uploads/) === 1)
  })

  test('that is told to stop stops, and its session goes', async () => {
    await using host = await start()
    const stop = new AbortController()
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      yield small
      stop.abort(new Error('stopped'))
      await new Promise(() => {})
    }
    await assert.rejects(host.repository.uploadBlob(descriptorOf(large), endless, { signal: stop.signal }), {
      message: 'stopped',
    })
    assert.equal(host.registry.uploads.sessions.size, 0)
  })

  test('that is told to stop between two attempts stops, and its session goes', async () => {
    await using host = await start()
    await using slow = startClient({}, { firstPause: 1e6, longestPause: 1e6 })
    host.registry.fault(seen => (seen.method === 'PUT' ? { status: 500 } : undefined))
    const stop = new AbortController()
    const repository = slow.repository(host.registry.address, 'team/app', undefined)
    const follower: TransferFollower = { retry: () => setImmediate(() => stop.abort(new Error('stopped'))) }
    await assert.rejects(
      repository.uploadBlob(descriptorOf(small), pieces(small), { signal: stop.signal, follower }),
      { message: 'stopped' },
    )
    assert.equal(host.registry.count('DELETE', /uploads/), 1)
    assert.equal(host.registry.uploads.sessions.size, 0)
  })

  test('that is denied says so in Docker’s words', async () => {
    await using registry = await startRegistry({ tokens: { users: { anna: 'p' }, public: ['team/app'] } })
    await using client = startClient()
    const repository = client.repository(registry.address, 'team/app', undefined)
    await assert.rejects(repository.uploadBlob(descriptorOf(small), pieces(small), { signal: never }), {
      code: 'denied',
      status: 403,
      message: 'denied: requested access to the resource is denied',
    })
    const anna = credentialsOf({ username: 'anna', password: 'p' })
    await client
      .repository(registry.address, 'team/app', anna)
      .uploadBlob(descriptorOf(small), pieces(small), { signal: never })
    assert.deepEqual(registry.tokens.given.at(-1), ['repository:team/app:pull,push'])
    assert.ok(registry.blobs.has(digestOf(small)))
  })

  test('goes on with a new token where its token ends meanwhile', async () => {
    await using registry = await startRegistry({ tokens: { users: { anna: 'p' } } })
    await using client = startClient()
    const anna = credentialsOf({ username: 'anna', password: 'p' })
    registry.fault(seen => {
      if (seen.method === 'PATCH' && registry.tokens.given.length === 1) registry.tokens.revokeAll()
      return undefined
    })
    await client
      .repository(registry.address, 'team/app', anna)
      .uploadBlob(descriptorOf(large), pieces(large), { signal: never })
    assert.equal(registry.tokens.given.length, 2)
    assert.ok(registry.blobs.get(digestOf(large))?.equals(large))
  })
})

describe('what is there already', () => {
  test('is found by HEAD', async () => {
    await using host = await start()
    const { digest } = host.registry.addBlob(small)
    assert.equal(await host.repository.hasBlob(digest, never), true)
    assert.equal(await host.repository.hasBlob(digestOf('other'), never), false)
    host.registry.fault(() => ({ status: 403 }))
    await assert.rejects(host.repository.hasBlob(digest, never), { code: 'denied' })
  })

  test('is mounted from another repository, and where it cannot be, the session is used for the upload', async () => {
    await using host = await start({ tokens: { users: { anna: 'p' } } })
    const anna = credentialsOf({ username: 'anna', password: 'p' })
    const repository = host.client.repository(host.registry.address, 'team/app', anna)
    const { digest } = host.registry.addBlob(small)
    host.registry.uploads.mountable.add('team/base')
    assert.equal(await repository.mountBlob(digest, 'team/base', never), true)
    assert.deepEqual(host.registry.tokens.given.at(-1), [
      'repository:team/app:pull,push',
      'repository:team/base:pull',
    ])
    host.registry.blobs.clear()
    assert.equal(await repository.mountBlob(digest, 'team/base', never), false)
    await repository.uploadBlob(descriptorOf(small), pieces(small), { signal: never })
    assert.equal(host.registry.count('POST', /uploads\/$/), 0)
    assert.ok(host.registry.blobs.has(digest))
    host.registry.fault(seen => (seen.url.includes('mount=') ? { status: 403 } : undefined))
    assert.equal(await repository.mountBlob(digest, 'team/base', never), false)
  })
})

describe('manifests', () => {
  test('are put under a tag and by digest, indexes too', async () => {
    await using host = await start()
    for (const mediaType of [mediaTypes.ociManifest, mediaTypes.ociIndex, mediaTypes.dockerList]) {
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType }))
      const manifest = { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } }
      await host.repository.putManifest(manifest.descriptor.digest, manifest, never)
      await host.repository.putManifest('v1', manifest, never)
      const stored = await host.repository.manifest('v1', never)
      assert.deepEqual(stored, manifest)
    }
  })

  test('that a registry refuses, or stores as others, are errors', async () => {
    await using host = await start()
    const bytes = Buffer.from('{}')
    const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: 2 }
    host.registry.fault(() => ({
      status: 400,
      text: '{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}',
    }))
    await assert.rejects(host.repository.putManifest('v1', { bytes, descriptor }, never), {
      code: 'registry-refused',
      message: 'manifest invalid: no',
    })
    host.registry.fault(() => ({ status: 201, headers: { 'docker-content-digest': digestOf('x') } }))
    await assert.rejects(host.repository.putManifest('v1', { bytes, descriptor }, never), {
      code: 'digest-mismatch',
    })
  })
})
