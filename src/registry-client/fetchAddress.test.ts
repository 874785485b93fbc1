import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeCertificates } from './testing/certificates.ts'
import { never, someBytes, startClient, summary } from './testing/client.ts'
import { type Fault, type Seen, startRegistry } from './testing/registry.ts'

const bytes = someBytes(1_000_000)

/** A server of one blob, which misbehaves as it is told. */
const startServer = async (decide: (seen: Seen) => Fault | undefined = () => undefined) => {
  const registry = await startRegistry()
  const { digest } = registry.addBlob(bytes)
  registry.fault(decide)
  return { registry, digest, url: `http://${registry.address}/v2/a/blobs/${digest}` }
}

const fetched = async (url: string) => {
  await using client = startClient()
  const { size, bytes: source } = await client.download(new URL(url), never)
  return { told: size, ...(await summary(source)) }
}

test('an address is fetched through redirects, its user told to its own host only', async () => {
  await using other = (await startServer()).registry
  const { digest } = other.addBlob(bytes)
  const { registry, url } = await startServer(({ url }) =>
    url.endsWith('?once')
      ? undefined
      : {
          status: 302,
          headers: {
            location: url.endsWith('?away') ? `http://${other.address}/v2/a/blobs/${digest}` : `${url}?once`,
          },
        },
  )
  await using _registry = registry
  const secret = url.replace('http://', 'http://anna:p%40ss@')
  assert.deepEqual(await fetched(secret), { told: bytes.length, size: bytes.length, digest })
  const basic = `Basic ${Buffer.from('anna:p@ss').toString('base64')}`
  assert.deepEqual(
    registry.seen.map(({ headers }) => headers.authorization),
    [basic, basic],
  )
  await fetched(`${secret}?away`)
  assert.equal(other.seen.at(-1)?.headers.authorization, undefined)
})

test('a cut is mended where the server tells that its content is the same', async () => {
  const cut = { headers: { etag: '"one"' }, cutAfter: 300_000 }
  const { registry, digest, url } = await startServer(({ times }) =>
    times < 2 ? cut : { headers: { etag: '"one"' } },
  )
  await using _registry = registry
  assert.equal((await fetched(url)).digest, digest)
  assert.deepEqual(
    registry.seen.map(({ headers }) => [headers.range, headers['if-range']]),
    [
      [undefined, undefined],
      ['bytes=300000-', '"one"'],
      ['bytes=600000-', '"one"'],
    ],
  )
})

test('a cut is the end where it is not the same, or nobody knows', async () => {
  const tellings = ['', 'W/"weak"', 'changes']
  for (const etag of tellings) {
    const { registry, url } = await startServer(({ times }) => ({
      headers: etag === '' ? {} : { etag: etag === 'changes' ? `"${times}"` : etag },
      ...(times === 0 ? { cutAfter: 300_000 } : {}),
    }))
    await using _registry = registry
    await assert.rejects(fetched(url), /the connection was cut/, etag)
  }
})

test('a certificate that is not trusted is told, without talk of registries', async () => {
  const { server } = makeCertificates()
  await using registry = await startRegistry({ tls: server })
  await assert.rejects(fetched(`${registry.base}/x`), {
    code: 'registry-untrusted',
    message: /x509: certificate signed by unknown authority; add the certificate of the authority of 127/,
  })
})

test('a user or a password that cannot be read is refused without showing it', async () => {
  await assert.rejects(fetched('http://anna:s%zzcret@127.0.0.1:9/x'), ({ status, message }) => {
    assert.deepEqual([status, message.includes('cret')], [400, false])
    return true
  })
})

test('what is known does not come again, whether the server knows of conditions or not', async () => {
  for (const isConditional of [true, false]) {
    const { registry, url } = await startServer(({ headers }) =>
      isConditional && headers['if-none-match'] === '"one"'
        ? { status: 304, headers: { etag: '"one"' } }
        : { headers: { etag: 'W/"one"' } },
    )
    await using _registry = registry
    await using client = startClient()
    const { isKnown, bytes: source } = await client.download(new URL(url), never, '"one"')
    assert.deepEqual([isKnown, (await summary(source)).size], [true, 0])
    const other = await client.download(new URL(url), never, '"two"')
    assert.deepEqual([other.isKnown, (await summary(other.bytes)).size], [false, bytes.length])
  }
})
