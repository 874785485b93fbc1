import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'

/** A registry serves its layers as any server serves archives. */
let daemon: TestDaemon
let server: ImageRegistry
/** Of an archive with a whole file system, and of one with two files. */
let urls: { whole: string; large: string }
before(async () => {
  daemon = await startDaemon()
  server = await ImageRegistry.start(daemon.namespace)
  const { layers } = await server.serve({ repository: 'files', tag: '1', which: 'files', bytes: 6 << 20 })
  const [whole = '', , large = ''] = layers.map(digest => `${server.address}/v2/files/blobs/${digest}`)
  urls = { whole, large }
})
after(async () => {
  await server[Symbol.asyncDispose]()
  await daemon.close()
})

interface Line {
  status?: string
  progressDetail?: { current: number; total?: number }
  error?: string
}

const imported = async (source: string, more: Record<string, string> = {}) => {
  const query = new URLSearchParams({ fromSrc: source, ...more })
  const { status, text } = await daemon.api('POST', `/images/create?${query}`)
  const lines = text.split('\r\n').flatMap(line => (line ? [JSON.parse(line) as Line] : []))
  return { status, text, lines }
}

const blobs = (): string[] => readdirSync(path.join(daemon.dataRoot, 'blobs/sha256')).sort()

test('an address is imported, with or without its scheme, through a redirect', async () => {
  await server.fault(/^GET .*files/, { status: 302, headers: { location: `http://${urls.whole}` } })
  const id = await daemon.mustDocker([
    'import',
    '-c',
    'CMD ["sh"]',
    `http://${server.address}/files.tar`,
    'box:1',
  ])
  assert.match(id, /sha256:\w{64}$/)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'box:1', 'echo', 'runs']), 'runs')
  const comment = await daemon.mustDocker(['image', 'inspect', '-f', '{{.Comment}}', 'box:1'])
  assert.equal(comment, `Imported from http://${server.address}/files.tar`)
  const { lines } = await imported(urls.large, { repo: 'large' })
  assert.equal(lines[0]?.status, `Downloading from http://${urls.large}`)
  const details = lines.flatMap(({ status, progressDetail }) =>
    status === 'Importing' && progressDetail ? [progressDetail] : [],
  )
  const total = details[0]?.total
  assert.ok(total && total > 6 << 20)
  assert.deepEqual(details.at(-1), { current: total, total })
  assert.match(lines.at(-1)?.status ?? '', /^sha256:/)
})

test('what a server refuses, cuts off or does not have leaves nothing', async () => {
  const there = blobs()
  const absent = await imported(`http://${server.address}/v2/files/blobs/none`)
  assert.equal(absent.status, 404)
  assert.match(absent.text, /failed to GET http:.* with status 404 Not Found: /)
  await server.fault(/^GET .*files/, { status: 403, text: 'not for you' })
  const refused = await imported(`http://anna:secret@${urls.whole}?token=hidden`)
  assert.equal(refused.status, 403)
  assert.match(refused.text, /403 Forbidden: not for you/)
  assert.doesNotMatch(refused.text, /secret|hidden/)
  await server.fault(/^GET .*files/, { corrupt: true })
  const junk = await imported(urls.large)
  assert.match(junk.lines.at(-1)?.error ?? '', /invalid tar header/, junk.text)
  await server.fault(/^GET .*files/, { cutAfter: 1 << 20 })
  const cut = await imported(urls.large)
  assert.equal(cut.status, 200)
  assert.match(cut.lines.at(-1)?.error ?? '', /the connection was cut/)
  assert.equal((await imported('http://127.0.0.1:9/x')).status, 500)
  assert.match((await imported('http://127.0.0.1:9/x')).text, /connection refused/)
  assert.match((await imported('http://nowhere.invalid/x')).text, /lookup nowhere.invalid: no /)
  assert.equal((await imported('ftp://x/y')).status, 400)
  assert.equal((await imported('http://')).status, 400)
  assert.deepEqual(blobs(), there)
})

test('a proxy is asked where one is set, but not for what is exempt from it', async () => {
  await using proxy = await ImageRegistry.start(daemon.namespace)
  await daemon.restart({ flags: ['--http-proxy', `http://${proxy.address}`, '--no-proxy', server.address] })
  assert.equal((await imported(urls.large)).lines.at(-1)?.error, undefined)
  assert.deepEqual(await proxy.seen(), [])
  await imported('http://files.example/x.tar')
  assert.equal((await proxy.seen()).length, 1)
})
