import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Fault } from '../src/registry-client/testing/registry.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'

/** What a registry, or what lies between, may do to a pull. */
interface World {
  name: string
  /** What is spoilt: the manifest by tag, the configuration, or the large layer. */
  of: 'manifest' | 'config' | 'layer'
  fault: Fault
  times?: number
  /** What the first pull says; without it, it is to succeed all the same. */
  says?: RegExp
}

const page = '<html><body>gateway</body></html>'
const forever = 100

const worlds: World[] = [
  { name: 'resets while the layer comes', of: 'layer', fault: { resetAfter: 700_000 }, times: 4 },
  {
    name: 'ends early, as if all had come',
    of: 'layer',
    fault: { cutAfter: 500_000, lengthless: true },
    times: 2,
  },
  { name: 'gives blobs from their beginning only', of: 'layer', fault: { cutAfter: 900_000 }, times: 1 },
  {
    name: 'gives another blob',
    of: 'layer',
    fault: { body: Buffer.alloc(3 << 20, 7) },
    says: /digest|bytes/,
  },
  {
    name: 'gives more than the manifest says',
    of: 'layer',
    fault: { body: Buffer.alloc(9 << 20) },
    says: /bytes/,
  },
  {
    name: 'gives other bytes of the same length',
    of: 'layer',
    fault: { corrupt: true },
    says: /has the digest/,
  },
  { name: 'is down for a moment', of: 'layer', fault: { status: 503, text: page }, times: 2 },
  {
    name: 'is down',
    of: 'layer',
    fault: { status: 502, text: page },
    times: forever,
    says: /502|Bad Gateway/i,
  },
  {
    name: 'is busy for a moment',
    of: 'layer',
    fault: { status: 429, headers: { 'retry-after': '1' } },
    times: 2,
  },
  {
    name: 'is busy',
    of: 'manifest',
    fault: { status: 429, text: '{"errors":[{"code":"TOOMANYREQUESTS","message":"you pull too much"}]}' },
    times: forever,
    says: /toomanyrequests: you pull too much|too many requests/i,
  },
  {
    name: 'has lost a layer',
    of: 'layer',
    fault: { status: 404 },
    times: forever,
    says: /unknown|not found/i,
  },
  { name: 'forbids a layer', of: 'layer', fault: { status: 403 }, times: forever, says: /denied|forbidden/i },
  {
    name: 'sends to a place that is not there',
    of: 'layer',
    fault: { status: 307, headers: { location: 'http://127.0.0.1:9/x' } },
    times: forever,
    says: /refused|unreachable|127\.0\.0\.1:9/i,
  },
  {
    name: 'sends in a circle',
    of: 'layer',
    fault: { status: 307, headers: { location: '/v2/' } },
    times: 1,
    says: /digest|bytes|redirect/i,
  },
  {
    name: 'gives a page instead of a manifest',
    of: 'manifest',
    fault: { body: Buffer.from(page), headers: { 'content-type': 'text/html' } },
    times: forever,
    says: /media type|manifest/i,
  },
  {
    name: 'lies about the manifest’s digest',
    of: 'manifest',
    fault: { headers: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } },
    times: forever,
    says: /digest/,
  },
  { name: 'cuts the manifest', of: 'manifest', fault: { cutAfter: 20 }, times: 1 },
  {
    name: 'gives half a manifest',
    of: 'manifest',
    fault: { body: Buffer.from('{"schemaVersion":2,') },
    times: forever,
    says: /manifest/i,
  },
  { name: 'gives another configuration', of: 'config', fault: { body: Buffer.from('{}') }, says: /config/i },
  { name: 'gives a configuration that is none', of: 'config', fault: { corrupt: true }, says: /config/i },
]

describe('a registry that', () => {
  let daemon: TestDaemon
  let registry: ImageRegistry
  const blobs = (): string[] => readdirSync(path.join(daemon.dataRoot, 'blobs/sha256')).sort()
  before(async () => {
    daemon = await startDaemon({ flags: ['--max-download-attempts', '3'] })
    registry = await ImageRegistry.start(daemon.namespace)
  })
  after(async () => {
    await registry[Symbol.asyncDispose]()
    await daemon.close()
  })

  for (const [index, { name, of, fault, times = 1, says }] of worlds.entries())
    test(`${name}: a ${says ? 'second' : 'first'} pull succeeds, and nothing is left over`, async () => {
      const repository = `world-${index}`
      const before = blobs()
      const { config, layers } = await registry.serve({
        repository,
        tag: '1',
        which: repository,
        bytes: 3 << 20,
      })
      const url = { manifest: 'manifests/1', config, layer: layers[2] ?? '' }[of]
      await registry.fault(new RegExp(`^GET .*${repository}/.*${url}`), fault, times)
      const image = `${registry.address}/${repository}:1`
      const first = await daemon.docker(['pull', '-q', image])
      assert.equal(first.code, says ? 1 : 0, first.stderr)
      if (says) {
        assert.match(first.stderr, says)
        await registry.wellAgain()
        await daemon.mustDocker(['pull', '-q', image])
      }
      assert.equal(await daemon.mustDocker(['run', '--rm', image, 'cat', '/which']), repository)
      await daemon.mustDocker(['rmi', image])
      assert.deepEqual(blobs(), before)
    })

  test('has an image that cannot be unpacked: of it stay layers, for the next pull, and nothing else', async () => {
    const before = blobs()
    const { layers } = await registry.serve({ repository: 'wrong', tag: '1', which: 'wrong', mistaken: true })
    const first = await daemon.docker(['pull', '-q', `${registry.address}/wrong:1`])
    assert.match(first.stderr, /unpacks to sha256:/)
    const left = blobs().filter(name => !before.includes(name))
    assert.deepEqual(
      left.map(name => `sha256:${name}`),
      layers.toSorted(),
    )
  })
})
