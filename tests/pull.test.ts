import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'

let daemon: TestDaemon
let registry: ImageRegistry
before(async () => {
  daemon = await startDaemon()
  registry = await ImageRegistry.start(daemon.namespace)
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

interface Line {
  status?: string
  id?: string
  progressDetail?: { current?: number; total?: number }
  progress?: string
  error?: string
  errorDetail?: { message: string }
}

/** A pull as its lines. */
const pulled = async (name: string, tag: string, more: Record<string, string> = {}) => {
  const query = new URLSearchParams({ fromImage: name, tag, ...more })
  const { status, text } = await daemon.api('POST', `/images/create?${query}`)
  const lines = text.split('\r\n').flatMap(line => (line ? [JSON.parse(line) as Line] : []))
  return { status, text, lines }
}

test('an image is pulled by tag, runs, and is up to date then', async () => {
  const { digest } = await registry.serve({ repository: 'team/box', tag: '1', which: 'one', bytes: 6 << 20 })
  const name = `${registry.address}/team/box:1`
  const said = await docker('pull', name)
  assert.match(said, /1: Pulling from .*team\/box\n/)
  assert.match(said, new RegExp(`Digest: ${digest}\n`))
  assert.match(said, /Status: Downloaded newer image for .*team\/box:1\n/)
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'one')
  assert.equal(
    await docker('image', 'inspect', '-f', '{{index .RepoDigests 0}} {{index .RepoTags 0}}', name),
    `${registry.address}/team/box@${digest} ${name}`,
  )
  await registry.seen()
  assert.match(await docker('pull', name), /Status: Image is up to date for .*team\/box:1/)
  const asked = await registry.seen()
  assert.ok(
    !asked.some(line => line.startsWith('GET') && line.includes('/blobs/') && line.includes('bytes=')),
  )
})

test('what a registry does not have, or does not give, is told in its words and with a status', async () => {
  const absent = await pulled(`${registry.address}/team/box`, 'none')
  assert.equal(absent.status, 404, absent.text)
  assert.match(absent.text, /manifest for .*team\/box:none not found: manifest unknown: manifest unknown/)
  await registry.fault(/\/v2\/team\/secret\//, {
    status: 403,
    text: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
  })
  const denied = await pulled(`${registry.address}/team/secret`, '1')
  assert.equal(denied.status, 404, denied.text)
  assert.match(denied.text, /pull access denied for .*team\/secret, repository does not exist or may require/)
  await registry.serve({
    repository: 'chart',
    tag: '1',
    which: 'c',
    mediaType: 'application/vnd.cncf.helm.config.v1+json',
  })
  const chart = await pulled(`${registry.address}/chart`, '1')
  assert.equal(chart.status, 400, chart.text)
  assert.match(
    chart.text,
    /Encountered remote \\"application\/vnd.cncf.helm.config.v1\+json\\"\(unknown\) when fetching/,
  )
  assert.equal((await pulled('scratch', 'latest')).status, 403)
  assert.equal((await pulled('Upper/Case', 'latest')).status, 400)
  assert.match(await closedPort(), /connection refused|ECONNREFUSED/i)
})

const closedPort = async (): Promise<string> => {
  const { code, stderr } = await daemon.docker(['pull', '127.0.0.1:9/nobody:1'])
  assert.equal(code, 1)
  return stderr
}

test('a pull by digest has that name alone', async () => {
  const { digest } = await registry.serve({ repository: 'team/box', tag: '2', which: 'two' })
  const name = `${registry.address}/team/box@${digest}`
  const said = await docker('pull', name)
  assert.match(said, new RegExp(`Digest: ${digest}\nStatus: Downloaded newer image for .*@${digest}`))
  assert.equal(await docker('image', 'inspect', '-f', '{{.RepoTags}} {{.RepoDigests}}', name), `[] [${name}]`)
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'two')
})

test('all tags are pulled, page by page', async () => {
  for (const tag of ['a', 'b', 'c']) await registry.serve({ repository: 'many', tag, which: tag })
  const said = await docker('pull', '-a', `${registry.address}/many`)
  assert.deepEqual(
    [...said.matchAll(/^(\w): Pulling from/gm)].map(match => match[1]),
    ['a', 'b', 'c'],
  )
  assert.match(said, /Status: Downloaded newer image for [^:]*:\d+\/many\n/)
  for (const tag of ['a', 'b', 'c'])
    assert.equal(await docker('run', '--rm', `${registry.address}/many:${tag}`, 'cat', '/which'), tag)
})

test('of an index the platform that is asked for is taken, else this host’s', async () => {
  const name = `${registry.address}/multi:1`
  const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const digest = await registry.serveIndex('multi', '1', [
    { repository: 'multi', tag: 'x', which: 'other', architecture: 's390x' },
    { repository: 'multi', tag: 'y', which: 'own' },
  ])
  assert.match(await docker('pull', name), new RegExp(`Digest: ${digest}`))
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'own')
  assert.equal(await docker('image', 'inspect', '-f', '{{.Architecture}}', name), own)
  await docker('pull', '--platform', 'linux/s390x', name)
  assert.equal(await docker('image', 'inspect', '-f', '{{.Architecture}}', name), 's390x')
  const none = await daemon.docker(['pull', '--platform', 'linux/riscv64', name])
  assert.match(none.stderr, /no matching manifest for linux\/riscv64 in the manifest list entries/)
  assert.equal((await pulled('multi', '1', { platform: 'nonsense' })).status, 400)
  const single = await docker('pull', '--platform', 'linux/s390x', `${registry.address}/team/box:1`)
  assert.match(
    single,
    /WARNING: image with reference .* does not match the specified platform: wanted linux\/s390x/,
  )
})

test('progress goes through its stages, and never backwards', async () => {
  await registry.serve({ repository: 'progress', tag: '1', which: 'progress', bytes: 8 << 20 })
  const { status, lines } = await pulled(`${registry.address}/progress`, '1')
  assert.equal(status, 200)
  assert.deepEqual(lines[0], {
    status: 'Pulling from progress'.replace('progress', `${registry.address}/progress`),
    id: '1',
  })
  const big = lines.find(({ progressDetail }) => (progressDetail?.total ?? 0) > 8 << 20)?.id
  const ofBig = lines.filter(({ id }) => id === big)
  const stages = ofBig.map(line => line.status).filter((stage, index, all) => stage !== all[index - 1])
  assert.deepEqual(
    stages.filter(stage => stage !== 'Waiting'),
    [
      'Pulling fs layer',
      'Downloading',
      'Verifying Checksum',
      'Download complete',
      'Extracting',
      'Pull complete',
    ],
  )
  for (const stage of ['Downloading', 'Extracting']) {
    const bytes = ofBig.flatMap(line => (line.status === stage ? (line.progressDetail?.current ?? []) : []))
    assert.ok(bytes.length > 0, stage)
    assert.deepEqual(
      bytes,
      [...bytes].sort((a, b) => a - b),
    )
    assert.ok(ofBig.some(({ progress }) => /^\[=*> *\] .*MB\/.*MB$/.test(progress ?? '')))
  }
  assert.equal(lines.filter(line => line.status === 'Already exists').length, 1, 'the layer of busybox')
  assert.match(lines.at(-2)?.status ?? '', /^Digest: sha256:/)
  assert.match(lines.at(-1)?.status ?? '', /^Status: Downloaded newer image for /)
})

test('bytes that are cut off, or wrong, do no harm', async () => {
  await registry.serve({ repository: 'cut', tag: '1', which: 'cut', bytes: 4 << 20 })
  await registry.fault(/\/v2\/cut\/blobs\//, { cutAfter: 100_000 }, 5)
  await docker('pull', '-q', `${registry.address}/cut:1`)
  assert.equal(await docker('run', '--rm', `${registry.address}/cut:1`, 'cat', '/which'), 'cut')
  const wrong = await registry.serve({ repository: 'wrong', tag: '1', which: 'wrong', bytes: 1 << 20 })
  for (const [blob, words] of [
    [wrong.config, /image config verification failed for digest sha256:/],
    [wrong.layers[2] ?? '', /the content has the digest sha256:.*, expected was sha256:/],
  ] as const) {
    await registry.fault(new RegExp(blob), { corrupt: true })
    const { status, lines } = await pulled(`${registry.address}/wrong`, '1')
    assert.equal(status, 200)
    assert.match(lines.at(-1)?.error ?? '', words)
    assert.deepEqual(lines.at(-1)?.errorDetail, { message: lines.at(-1)?.error })
    assert.equal((await daemon.docker(['image', 'inspect', `${registry.address}/wrong:1`])).code, 1)
  }
  await docker('pull', '-q', `${registry.address}/wrong:1`)
  assert.equal(await docker('run', '--rm', `${registry.address}/wrong:1`, 'cat', '/which'), 'wrong')
})
