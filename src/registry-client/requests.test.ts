import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../oci/digest.ts'
import { mediaTypes } from '../oci/image.ts'
import { refusal, registryErrors, troubleOf } from './failures.ts'
import { pauseAfter } from './retry.ts'
import { makeCertificates } from './testing/certificates.ts'
import { never, startClient, startFolder } from './testing/client.ts'
import { startProxy } from './testing/proxy.ts'
import { type Fault, type Seen, startRegistry } from './testing/registry.ts'

const manifest = { schemaVersion: 2, layers: [] }

/** The manifest `a:v1` of a registry whose answers are faulty. */
const fetched = async (fault: (seen: Seen) => Fault | undefined, reference = 'v1') => {
  await using registry = await startRegistry()
  await using client = startClient()
  const digest = registry.addManifest('a', 'v1', manifest)
  registry.fault(seen => (seen.url.includes('/manifests/') ? fault(seen) : undefined))
  const repository = client.repository(registry.address, 'a', undefined)
  const got = await repository.manifest(reference === 'digest' ? digest : reference, never)
  return { got, digest, registry }
}

describe('manifests', () => {
  test('come by tag and by digest, with what they are', async () => {
    for (const reference of ['v1', 'digest']) {
      const { got, digest } = await fetched(() => undefined, reference)
      assert.deepEqual(got.descriptor, { mediaType: mediaTypes.ociManifest, digest, size: got.bytes.length })
      assert.equal(digestOf(got.bytes), digest)
    }
    const plain = await fetched(() => ({ headers: { 'content-type': 'text/plain; charset=utf-8' } }))
    assert.equal(plain.got.descriptor.mediaType, mediaTypes.ociManifest)
  })

  test('that have not the digest by which they were asked for are refused', async () => {
    for (const reference of ['v1', 'digest'])
      await assert.rejects(
        fetched(() => ({ corrupt: true }), reference),
        { code: 'digest-mismatch', message: /^manifest verification failed for digest sha256:/ },
      )
  })

  test('under way when the mirrors change still come from the old ones', async () => {
    await using before = await startRegistry()
    await using after = await startRegistry()
    await using client = startClient({ mirrors: [before.base] })
    const digest = before.addManifest('library/a', 'v1', manifest)
    after.addManifest('library/a', 'v1', { ...manifest, schemaVersion: 3 })
    const underWay = client.repository('docker.io', 'library/a', undefined)
    client.configure({ mirrors: [after.base], insecure: [], attempts: 1 })
    assert.equal((await underWay.resolve('v1', never)).digest, digest)
    assert.notEqual(
      (await client.repository('docker.io', 'library/a', undefined).resolve('v1', never)).digest,
      digest,
    )
  })

  test('are resolved by HEAD alone, and by GET where HEAD tells no digest', async () => {
    await using registry = await startRegistry()
    await using client = startClient()
    const digest = registry.addManifest('a', 'v1', manifest)
    const repository = client.repository(registry.address, 'a', undefined)
    assert.equal((await repository.resolve('v1', never)).digest, digest)
    assert.equal(registry.count('GET', /manifests/), 0)
    registry.fault(seen =>
      seen.method === 'HEAD' ? { headers: { 'docker-content-digest': '' } } : undefined,
    )
    assert.equal((await repository.resolve('v1', never)).digest, digest)
    assert.equal(registry.count('GET', /manifests/), 1)
    await assert.rejects(repository.resolve('no', never), {
      code: 'manifest-unknown',
      status: 404,
      message: `manifest for ${registry.address}/a:no not found: manifest unknown: manifest unknown`,
    })
  })

  test('without end are left', async () => {
    await assert.rejects(
      fetched(() => ({ body: Buffer.alloc(9 * 1024 * 1024) })),
      { code: 'registry-failed', message: /longer than/ },
    )
  })
})

describe('errors of registries', () => {
  const words = (status: number, text: string, path = 'library/busybox', registry = 'docker.io') => {
    const subject = { registry, path, action: 'pull' as const, manifest: 'v1' }
    const error = refusal(subject, status, registryErrors(status, [], text), undefined)
    return `${error.status} ${error.message}`
  }
  const body = (code: string, message: string): string => JSON.stringify({ errors: [{ code, message }] })

  test('are told in Docker’s words', () => {
    assert.equal(
      words(404, body('MANIFEST_UNKNOWN', 'manifest unknown')),
      '404 manifest for busybox:v1 not found: manifest unknown: manifest unknown',
    )
    assert.equal(words(404, ''), '404 manifest for busybox:v1 not found: manifest unknown: manifest unknown')
    assert.equal(
      words(404, body('NAME_UNKNOWN', ''), 'team/app', 'r.example'),
      '404 repository r.example/team/app not found: name unknown: repository name not known to registry',
    )
    assert.equal(
      words(403, body('DENIED', 'requested access to the resource is denied')),
      "404 pull access denied for busybox, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    )
    assert.equal(
      words(429, body('TOOMANYREQUESTS', 'You have reached your pull rate limit.')),
      '500 toomanyrequests: You have reached your pull rate limit.',
    )
    assert.equal(
      words(401, '{"details":"incorrect username or password"}'),
      '401 unauthorized: incorrect username or password',
    )
    assert.match(
      words(502, '<html>bad gateway</html>'),
      /^500 received unexpected HTTP status: 502 .*unknown error/,
    )
    assert.equal(words(400, body('SPECIAL', 'no such luck')), '400 unknown: no such luck')
  })

  test('any body is read without a throw, and nothing unbounded comes of it', () => {
    const values = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom('null', '[]', '{"errors":[null,1]}', '{"errors":{}}'),
    )
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 599 }), values, (status, text) => {
        const error = refusal(
          { registry: 'a', path: 'b', action: 'pull' },
          status,
          registryErrors(status, [], text),
          0,
        )
        assert.ok(error.message.length < 2000)
      }),
    )
  })
})

describe('requests', () => {
  test('go on after errors of the server, and after Retry-After has passed', async () => {
    const faults: Fault[] = [
      { status: 500 },
      { status: 503, headers: { 'retry-after': '0' } },
      { status: 429, headers: { 'retry-after': '1' } },
      { cutAfter: 3 },
    ]
    const { got, digest, registry } = await fetched(seen => faults[seen.times])
    assert.equal(got.descriptor.digest, digest)
    assert.equal(registry.count('GET', /manifests/), 5)
    const timings = { firstPause: 100, longestPause: 1000 }
    assert.equal(pauseAfter(1, timings, undefined, 1), 100)
    assert.equal(pauseAfter(3, timings, undefined, 1), 400)
    assert.equal(pauseAfter(9, timings, undefined, 0), 500)
    assert.equal(pauseAfter(1, timings, 7000), 7000)
  })

  test('end at once where the registry wants more patience than a person has', async () => {
    let asked = 0
    await assert.rejects(
      fetched(() => {
        asked += 1
        return { status: 429, headers: { 'retry-after': '3600' } }
      }),
      { code: 'too-many-requests', message: 'toomanyrequests: too many requests' },
    )
    assert.equal(asked, 1)
    const subject = { registry: 'r', path: 'a', action: 'pull' as const }
    const waits = (seconds: number): boolean => troubleOf(refusal(subject, 429, [], seconds * 1000)).transient
    assert.deepEqual([240, 300, 301].map(waits), [true, true, false])
  })

  test('follow redirects, but not in a circle nor to something else than HTTP', async () => {
    const { got } = await fetched(seen =>
      seen.url.endsWith('?hop') ? undefined : { status: 302, headers: { location: `${seen.url}?hop` } },
    )
    assert.equal(got.descriptor.mediaType, mediaTypes.ociManifest)
    await assert.rejects(
      fetched(seen => ({ status: 301, headers: { location: seen.url } })),
      { code: 'registry-failed', message: /stopped after 10 redirects/ },
    )
    await assert.rejects(
      fetched(() => ({ status: 302, headers: { location: 'file:///etc/shadow' } })),
      { code: 'registry-failed', message: /redirects to no address of HTTP/ },
    )
  })

  test('to nobody fail with the address, without its query', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    await new Promise(resolve => server.close(resolve))
    await using client = startClient()
    await assert.rejects(client.repository(`127.0.0.1:${port}`, 'a', undefined).manifest('v1', never), {
      code: 'registry-unreachable',
      message: `Get "http://127.0.0.1:${port}/v2/a/manifests/v1": connect: connection refused`,
    })
  })

  test('to a host that never says a word fail when its time is over', async () => {
    const sockets: { destroy(): unknown }[] = []
    const server = createServer(socket => sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`
    using folder = startFolder({
      'tls.example': { 'hosts.toml': `server = "https://${address}"` },
      'plain.example': { 'hosts.toml': `server = "http://${address}"` },
    })
    const given = { certificateFolders: [folder.path], attempts: 1 }
    await using client = startClient(given, { connect: 300, silence: 300 })
    const pull = (name: string) => client.repository(name, 'a', undefined).manifest('v1', never)
    await assert.rejects(pull('tls.example'), {
      code: 'registry-unreachable',
      message: /connect: i\/o timeout$/,
    })
    await assert.rejects(pull('plain.example'), {
      code: 'registry-unreachable',
      message: /no answer in time$/,
    })
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  test('stop when they are told to, also while a connection is being made', async () => {
    // Accepts, and never says a word: a handshake of TLS that does not end.
    const sockets: { destroy(): unknown }[] = []
    const stop = new AbortController()
    const server = createServer(socket => {
      sockets.push(socket.on('error', () => {}))
      stop.abort(new Error('stopped'))
    }).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    await using client = startClient({}, { connect: 600_000 })
    await assert.rejects(client.repository(`127.0.0.1:${port}`, 'a', undefined).manifest('v1', stop.signal), {
      message: 'stopped',
    })
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  test('go through a proxy, plain and by CONNECT, with the proxy’s own credentials', async () => {
    const certificates = makeCertificates()
    await using registry = await startRegistry()
    await using secure = await startRegistry({ tls: certificates.server })
    registry.addManifest('a', 'v1', manifest)
    secure.addManifest('a', 'v1', manifest)
    const authorization = `Basic ${Buffer.from('u:p%40').toString('base64')}`
    await using plain = await startProxy({ to: registry.address, authorization })
    await using tunnel = await startProxy({ to: secure.address })
    using folder = startFolder({
      'p.example': { 'hosts.toml': 'server = "http://p.example"' },
      's.example': {
        'hosts.toml': 'server = "https://s.example"\nca = "ca.crt"',
        'ca.crt': certificates.authority,
      },
    })
    const withUser = plain.url.replace('//', '//u:p%2540@')
    await using client = startClient({
      certificateFolders: [folder.path],
      proxies: { http: withUser, https: tunnel.url, no: '' },
    })
    for (const name of ['p.example', 's.example'])
      assert.ok((await client.repository(name, 'a', undefined).manifest('v1', never)).bytes.length > 0)
    assert.deepEqual(plain.seen, ['http://p.example/v2/a/manifests/v1'])
    assert.deepEqual(tunnel.seen, ['s.example:443'])
    await using stranger = startClient({
      certificateFolders: [folder.path],
      proxies: { http: plain.url, https: '', no: '' },
    })
    await assert.rejects(stranger.repository('p.example', 'a', undefined).manifest('v1', never), {
      message: /the proxy refused the connection \(407\)/,
    })
    await using tunnelled = startClient({
      certificateFolders: [folder.path],
      proxies: { http: '', https: plain.url, no: '' },
    })
    await assert.rejects(tunnelled.repository('s.example', 'a', undefined).manifest('v1', never), {
      message: /the proxy refused the connection \(407\)/,
    })
  })
})

describe('TLS', () => {
  const certificates = makeCertificates()

  test('is checked against the authorities of the folder, and a client’s certificate is shown', async () => {
    await using registry = await startRegistry({
      tls: { ...certificates.server, clientAuthority: certificates.authority },
    })
    registry.addManifest('a', 'v1', manifest)
    const toml = `server = "${registry.base}"\nca = "ca.crt"\n`
    using folder = startFolder({
      'known.example': {
        'hosts.toml': `${toml}client = [["c.cert", "c.key"]]`,
        'ca.crt': certificates.authority,
        'c.cert': certificates.client.cert,
        'c.key': certificates.client.key,
      },
      'unknown.example': { 'hosts.toml': `server = "${registry.base}"` },
      'nobody.example': { 'hosts.toml': toml, 'ca.crt': certificates.authority },
    })
    await using client = startClient({ certificateFolders: [folder.path] })
    const pull = (name: string) => client.repository(name, 'a', undefined).manifest('v1', never)
    assert.ok((await pull('known.example')).bytes.length > 0)
    await assert.rejects(pull('unknown.example'), {
      code: 'registry-untrusted',
      message: new RegExp(
        `x509: certificate signed by unknown authority; put the certificate of its authority as ca\\.crt into ${folder.path}/unknown\\.example, or`,
      ),
    })
    await assert.rejects(pull('nobody.example'), { status: 500 })
    using broken = startFolder({ 'r.example': { 'c.cert': 'no PEM', 'c.key': 'neither' } })
    await using other = startClient({ certificateFolders: [broken.path] })
    await assert.rejects(other.repository('r.example', 'a', undefined).manifest('v1', never), {
      code: 'bad-request',
      message: /the client certificate for a registry, or its key, cannot be used/,
    })
  })

  test('of a loopback registry is taken with any certificate, and left where it speaks none', async () => {
    await using secure = await startRegistry({ tls: certificates.server })
    await using plain = await startRegistry()
    await using client = startClient()
    for (const registry of [secure, plain]) {
      registry.addManifest('a', 'v1', manifest)
      const repository = client.repository(registry.address, 'a', undefined)
      await repository.manifest('v1', never)
      await assert.rejects(repository.manifest('no', never), { code: 'manifest-unknown' })
    }
    assert.equal(secure.count('GET', /manifests/), 2)
  })

  test('that the other side does not speak is named in Docker’s words, with what to do', async () => {
    await using registry = await startRegistry()
    using folder = startFolder({ 'r.example': { 'hosts.toml': `server = "https://${registry.address}"` } })
    await using client = startClient({ certificateFolders: [folder.path] })
    await assert.rejects(client.repository('r.example', 'a', undefined).manifest('v1', never), {
      code: 'registry-untrusted',
      message:
        /http: server gave HTTP response to HTTPS client; if it is to be trusted without TLS, name it in insecure-registries/,
    })
  })
})

describe('tags', () => {
  const listed = async (fault: (seen: Seen) => Fault | undefined, page = 2): Promise<string[]> => {
    await using registry = await startRegistry({ page })
    await using client = startClient()
    for (const tag of ['a', 'b', 'c', 'd', 'e']) registry.addManifest('x', tag, manifest)
    registry.fault(fault)
    return await Array.fromAsync(client.repository(registry.address, 'x', undefined).tags(never))
  }

  test('come page by page', async () => {
    assert.deepEqual(await listed(() => undefined), ['a', 'b', 'c', 'd', 'e'])
    assert.deepEqual(await listed(seen => (seen.times === 0 ? { status: 500 } : undefined)), [
      'a',
      'b',
      'c',
      'd',
      'e',
    ])
    assert.deepEqual(await listed(() => ({ body: Buffer.from('{"name":"x","tags":null}') }), 9), [])
  })

  test('whose pages lead in a circle, or that are none, are an error', async () => {
    await assert.rejects(
      listed(() => ({ headers: { link: '<list>; rel="next"' } })),
      { code: 'registry-failed', message: /leads back to a page/ },
    )
    await assert.rejects(
      listed(() => ({ body: Buffer.from('{"tags":[1]}') })),
      { code: 'registry-failed', message: /no list of tags/ },
    )
    await assert.rejects(
      listed(() => ({ body: Buffer.alloc(9 * 1024 * 1024) })),
      { code: 'registry-failed', message: /longer than/ },
    )
  })
})
