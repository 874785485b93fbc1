import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import type { Descriptor } from '../oci/image.ts'
import { never, pieces, someBytes, startClient, startFolder, summary } from './testing/client.ts'
import { type Fault, type Seen, startRegistry, type TestRegistry } from './testing/registry.ts'
import type { BlobOptions, TransferFollower } from './types.ts'

const isBlob = (seen: Seen): boolean => seen.url.includes('/blobs/')

/** A blob at one registry whose answers are faulty. */
const fetched = async (
  size: number,
  fault: (seen: Seen, nth: number) => Fault | undefined,
  options: Partial<BlobOptions> = {},
  descriptor: Partial<Descriptor> = {},
) => {
  await using registry = await startRegistry()
  await using client = startClient()
  const bytes = someBytes(size)
  const blob = { ...registry.addBlob(bytes), ...descriptor }
  let nth = 0
  registry.fault(seen => (isBlob(seen) ? fault(seen, nth++) : undefined))
  const repository = client.repository(registry.address, 'a/b', undefined)
  const got = await summary(repository.blob(blob, { signal: never, ...options }))
  return { got, bytes, blob, registry }
}

describe('a blob', () => {
  test('comes whole, and from an offset on by a range', async () => {
    const { got, blob } = await fetched(300_000, () => undefined)
    assert.deepEqual(got, { size: blob.size, digest: blob.digest })
    const part = await fetched(300_000, () => undefined, { offset: 299_990 })
    assert.equal(part.got.size, 10)
    assert.equal(part.registry.seen.at(-1)?.headers.range, 'bytes=299990-')
  })

  test('survives fifty cuts, and of its bytes at most one in a hundred comes twice', async () => {
    const size = 12 * 1024 * 1024
    const piece = Math.ceil(size / 51)
    const retries: number[] = []
    let sent = 0
    const follower: TransferFollower = { retry: (_why, bytes) => retries.push(bytes) }
    const { got, blob, registry } = await fetched(
      size,
      seen => {
        const first = Number(/bytes=(\d+)/.exec(String(seen.headers.range))?.[1] ?? 0)
        sent += Math.min(piece, size - first)
        return { cutAfter: piece }
      },
      { follower },
    )
    assert.deepEqual(got, { size, digest: blob.digest })
    assert.ok(registry.count('GET', /blobs/) >= 51)
    assert.ok(retries.length >= 50, `${retries.length} cuts`)
    assert.deepEqual(
      retries,
      [...retries].sort((a, b) => a - b),
    )
    assert.ok(sent - size <= size / 100, `${sent - size} bytes twice`)
  })

  test('is taken up at a host that gives it from its beginning only, and what came twice is told', async () => {
    let repeated = 0
    const { got, blob } = await fetched(
      400_000,
      (_seen, nth) => (nth === 0 ? { cutAfter: 150_000 } : { wholeOnly: true }),
      { follower: { repeated: bytes => (repeated += bytes) } },
    )
    assert.deepEqual(got, { size: blob.size, digest: blob.digest })
    assert.equal(repeated, 150_000)
  })

  test('is asked for whole where a range is refused', async () => {
    const { got, blob } = await fetched(200_000, (seen, nth) =>
      nth === 0 ? { cutAfter: 50_000 } : seen.headers.range === undefined ? undefined : { status: 416 },
    )
    assert.deepEqual(got, { size: blob.size, digest: blob.digest })
  })

  test('is asked for again where another range comes than was asked for', async () => {
    const { got, blob } = await fetched(200_000, (seen, nth) =>
      nth === 0
        ? { cutAfter: 50_000 }
        : seen.headers.range === undefined
          ? undefined
          : { headers: { 'content-range': 'bytes 100000-199999/200000' } },
    )
    assert.deepEqual(got, { size: blob.size, digest: blob.digest })
  })

  test('of another size than its descriptor says is refused', async () => {
    await assert.rejects(
      fetched(1000, () => undefined, {}, { size: 999 }),
      { code: 'registry-failed', message: /it has 1000 bytes there, and not 999/ },
    )
    await assert.rejects(
      fetched(1000, () => ({ body: Buffer.alloc(1001) })),
      { code: 'registry-failed', message: /it has 1001 bytes there, and not 1000/ },
    )
    await assert.rejects(
      fetched(1000, () => ({ body: Buffer.alloc(1001), lengthless: true })),
      { code: 'registry-failed', message: /more than its 1000 bytes came/ },
    )
    await assert.rejects(
      fetched(1000, () => ({ body: Buffer.alloc(999), lengthless: true, wholeOnly: true })),
      { code: 'registry-failed', message: /it ended after 999 of 1000 bytes/ },
    )
  })

  test('that ends early every time fails after the attempts that are allowed', async () => {
    let asked = 0
    await assert.rejects(
      fetched(1000, () => {
        asked += 1
        return { cutAfter: 0 }
      }),
      {
        code: 'registry-unreachable',
        message:
          /^Get "http:\/\/127\.0\.0\.1:\d+\/v2\/a\/b\/blobs\/sha256:[0-9a-f]+": the connection was cut/,
      },
    )
    assert.equal(asked, 5)
  })

  test('comes in spite of errors of the server and of silence', async () => {
    await using registry = await startRegistry()
    await using client = startClient({}, { silence: 2_000 })
    const blob = registry.addBlob(someBytes(100_000))
    registry.fault(seen => {
      if (!isBlob(seen)) return undefined
      return [{ status: 500 }, { status: 503 }, { silentAfter: 40_000 }][seen.times]
    })
    const retries: string[] = []
    const follower: TransferFollower = { retry: why => retries.push(why) }
    const repository = client.repository(registry.address, 'a', undefined)
    assert.deepEqual(await summary(repository.blob(blob, { signal: never, follower })), {
      size: blob.size,
      digest: blob.digest,
    })
    assert.match(retries.join(' '), /HTTP status: 500.*HTTP status: 503.*went silent/)
  })

  test('of a digest or size that is none is not asked for', async () => {
    for (const wrong of [{ digest: 'sha256:../../x' as const }, { size: -1 }, { size: Number.NaN }])
      await assert.rejects(
        fetched(10, () => assert.fail('asked for'), {}, wrong),
        { code: 'bad-request', message: /^invalid descriptor of a blob/ },
      )
  })

  test('that nobody has is unknown in the registry’s words', async () => {
    await using registry = await startRegistry()
    await using client = startClient()
    const blob = registry.addBlob(someBytes(10))
    registry.blobs.clear()
    await assert.rejects(
      summary(client.repository(registry.address, 'a', undefined).blob(blob, { signal: never })),
      {
        code: 'blob-unknown',
        status: 404,
        message: /^blob unknown: blob unknown to registry \(sha256:/,
      },
    )
    assert.equal(registry.count('GET', /blobs/), 1)
  })

  test('is not read ahead of a slow reader', async () => {
    await using registry = await startRegistry()
    await using client = startClient()
    const size = 64 * 1024 * 1024
    const blob = registry.addBlob(someBytes(size))
    const bytes = client.repository(registry.address, 'a', undefined).blob(blob, { signal: never })
    for await (const _ of bytes) {
      // Until nothing flows any more.
      for (let before = -1; before !== registry.unsent(); await delay(200)) before = registry.unsent()
      assert.ok(registry.unsent() > size / 2, `${registry.unsent()} of ${size} bytes wait at the registry`)
      break
    }
  })

  test('is left at once when its reader is told to stop, wherever that is', async () => {
    await using registry = await startRegistry()
    await using client = startClient()
    const blob = registry.addBlob(someBytes(1_000_000))
    registry.fault(seen => (isBlob(seen) ? { silentAfter: 300_000 } : undefined))
    const stop = new AbortController()
    const bytes = client.repository(registry.address, 'a', undefined).blob(blob, { signal: stop.signal })
    let read = 0
    await assert.rejects(
      async () => {
        for await (const chunk of bytes) {
          read += chunk.length
          if (read === 300_000) setImmediate(() => stop.abort(new Error('not wanted any more')))
        }
      },
      { message: 'not wanted any more' },
    )
    assert.equal(registry.count('GET', /blobs/), 1)
    const paused = startClient({ attempts: 99 }, { firstPause: 1e6, longestPause: 1e6 })
    registry.fault(() => ({ status: 500 }))
    const again = new AbortController()
    const follower: TransferFollower = { retry: () => setImmediate(() => again.abort(new Error('stopped'))) }
    const waiting = paused
      .repository(registry.address, 'a', undefined)
      .blob(blob, { signal: again.signal, follower })
    await assert.rejects(summary(waiting), { message: 'stopped' })
    await paused.close()
  })
})

describe('a blob through anything', () => {
  test('is complete and right after any faults, as long as some bytes come', async () => {
    const size = 200_000
    const at = fc.integer({ min: 1024, max: 90_000 })
    const fault: fc.Arbitrary<Fault> = fc.oneof(
      at.map(cutAfter => ({ cutAfter })),
      at.map(resetAfter => ({ resetAfter })),
      at.map(cutAfter => ({ cutAfter, lengthless: true })),
      fc.constantFrom<Fault>(
        { status: 500 },
        { status: 429 },
        { status: 416 },
        { wholeOnly: true, cutAfter: 60_000 },
        { headers: { 'content-range': 'bytes 7-199999/200000' } },
        { headers: { 'content-range': 'nonsense' } },
      ),
    )
    await using registry = await startRegistry()
    await using client = startClient({ attempts: 20 })
    const blob = registry.addBlob(someBytes(size))
    let name = 0
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { maxLength: 8 }), fc.nat(size), async (faults, offset) => {
        const repository = client.repository(registry.address, `n${name++}`, undefined)
        const left = [...faults]
        registry.fault(seen => (isBlob(seen) ? left.shift() : undefined))
        const got = await summary(repository.blob(blob, { signal: never, offset }))
        assert.equal(got.size, size - offset)
        assert.equal(got.digest, (await summary(pieces(someBytes(size))(offset))).digest)
      }),
      { numRuns: 60 },
    )
  })

  test('comes from where its registry redirects to, and is asked of the registry again when that refuses', async () => {
    await using elsewhere = await startRegistry()
    await using registry = await startRegistry({ tokens: { public: ['a'] } })
    await using client = startClient()
    const bytes = someBytes(300_000)
    const blob = elsewhere.addBlob(bytes)
    registry.addBlob(bytes)
    let signature = 0
    registry.fault(seen =>
      isBlob(seen) && seen.headers.authorization
        ? { status: 307, headers: { location: `${elsewhere.base}${seen.url}?signature=${signature++}` } }
        : undefined,
    )
    // The first address runs out while the blob comes.
    const faults: Fault[] = [{ cutAfter: 100_000 }, { status: 403, text: '<Error>AccessDenied</Error>' }]
    elsewhere.fault(() => faults.shift())
    const retries: string[] = []
    const repository = client.repository(registry.address, 'a', undefined)
    const follower: TransferFollower = { retry: why => retries.push(why) }
    assert.equal((await summary(repository.blob(blob, { signal: never, follower }))).digest, blob.digest)
    assert.equal(signature, 3)
    assert.ok(
      retries.every(why => !why.includes('signature')),
      retries.join('; '),
    )
    assert.match(retries[1] ?? '', /refused what it was asked for \(403\)/)
    assert.deepEqual(
      elsewhere.seen.map(seen => [seen.headers.authorization, seen.headers.range]),
      [
        [undefined, undefined],
        [undefined, 'bytes=100000-'],
        [undefined, 'bytes=100000-'],
      ],
    )
  })
})

describe('a blob of several hosts', () => {
  const mirrored = async (
    work: (hosts: {
      mirror: TestRegistry
      upstream: TestRegistry
      registry: string
      folder: string
    }) => Promise<void>,
  ): Promise<void> => {
    await using mirror = await startRegistry()
    await using upstream = await startRegistry()
    using folder = startFolder({
      'r.example': { 'hosts.toml': `server = "${upstream.base}"\n[host."${mirror.base}"]` },
    })
    await work({ mirror, upstream, registry: 'r.example', folder: folder.path })
  }

  test('comes from the next host where a mirror lacks it or breaks off for good', async () => {
    await mirrored(async ({ mirror, upstream, registry, folder }) => {
      await using client = startClient({ certificateFolders: [folder], attempts: 2 })
      const bytes = someBytes(500_000)
      const blob = upstream.addBlob(bytes)
      const read = (name: string) =>
        summary(client.repository(registry, name, undefined).blob(blob, { signal: never }))
      assert.deepEqual(await read('lacking'), { size: blob.size, digest: blob.digest })
      assert.ok(mirror.seen.some(seen => seen.url.includes('lacking') && seen.url.includes('ns=r.example')))

      mirror.addBlob(bytes)
      mirror.fault(seen => (seen.times === 0 ? { cutAfter: 100_000 } : { status: 500 }))
      assert.deepEqual(await read('broken'), { size: blob.size, digest: blob.digest })
      const [last] = upstream.seen.filter(seen => seen.url.includes('broken'))
      assert.equal(last?.headers.range, 'bytes=100000-')
    })
  })

  test('comes from the mirror alone where the mirror is well', async () => {
    await mirrored(async ({ mirror, upstream, registry, folder }) => {
      await using client = startClient({ certificateFolders: [folder] })
      const blob = mirror.addBlob(someBytes(1000))
      assert.equal(
        (await summary(client.repository(registry, 'a', undefined).blob(blob, { signal: never }))).size,
        1000,
      )
      assert.equal(upstream.seen.length, 0)
    })
  })

  test('an unreachable mirror is passed over, and tried no more for a while', async () => {
    await mirrored(async ({ mirror, upstream, registry, folder }) => {
      await using client = startClient({ certificateFolders: [folder] })
      const repository = client.repository(registry, 'a', undefined)
      const blob = upstream.addBlob(someBytes(1000))
      await mirror[Symbol.asyncDispose]()
      for (let nth = 0; nth < 2; nth += 1)
        assert.equal((await summary(repository.blob(blob, { signal: never }))).size, 1000)
      assert.equal(upstream.count('GET', /blobs/), 2)
    })
  })

  test('nobody is asked for what no host may be asked for', async () => {
    await using host = await startRegistry()
    using folder = startFolder({
      'r.example': { 'hosts.toml': `server = "${host.base}"\ncapabilities = ["push"]` },
    })
    await using client = startClient({ certificateFolders: [folder.path] })
    const repository = client.repository('r.example', 'a', undefined)
    const refused = { code: 'bad-request', message: /^no host of this registry may be asked for this/ }
    await assert.rejects(summary(repository.blob(host.addBlob(someBytes(10)), { signal: never })), refused)
    await assert.rejects(repository.manifest('v1', never), refused)
    assert.equal(host.seen.length, 0)
  })

  test('a foreign layer comes from where its descriptor says, without credentials', async () => {
    await using registry = await startRegistry({ basic: { username: 'u', password: 'p' } })
    await using elsewhere = await startRegistry()
    await using client = startClient()
    const blob = {
      ...elsewhere.addBlob(someBytes(5000)),
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    }
    const credentials = { username: 'u', password: 'p', identityToken: '', registryToken: '' }
    const repository = client.repository(registry.address, 'a', credentials)
    const urls = [`${elsewhere.base}/v2/x/blobs/${blob.digest}`, 'file:///etc/passwd']
    assert.equal((await summary(repository.blob({ ...blob, urls }, { signal: never }))).digest, blob.digest)
    assert.deepEqual(
      elsewhere.seen.map(seen => [seen.url, seen.headers.authorization]),
      [[`/v2/x/blobs/${blob.digest}`, undefined]],
    )
    const plain = { ...blob, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', urls }
    await assert.rejects(summary(repository.blob(plain, { signal: never })), { code: 'blob-unknown' })
  })
})
