import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { makeCertificates } from '../src/registry-client/testing/certificates.ts'
import { startDistribution } from '../src/registry-client/testing/distribution.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
let registry: ImageRegistry
before(async () => {
  daemon = await startDaemon()
  registry = await ImageRegistry.start(daemon.namespace, { apart: true })
  await daemon.loadBusybox()
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
  error?: string
  errorDetail?: { message: string }
  aux?: {
    Digest?: string
    Tag?: string
    Size?: number
    manifestPushedInsteadOfIndex?: boolean
    originalIndex?: { digest: string }
    selectedManifest?: { digest: string }
  }
}

/** A push as its lines. */
const pushed = async (name: string, tag = '', more: Record<string, string> = {}) => {
  const query = new URLSearchParams({ ...(tag ? { tag } : {}), ...more })
  const { status, text } = await daemon.api('POST', `/images/${name}/push?${query}`, undefined, {
    'X-Registry-Auth': 'e30=',
  })
  const lines =
    status === 200 ? text.split('\r\n').flatMap(line => (line ? [JSON.parse(line) as Line] : [])) : []
  return { status, text, lines, digest: lines.at(-1)?.aux?.Digest ?? '' }
}

const statuses = (lines: Line[]): string[] => lines.flatMap(({ status }) => status ?? [])

/** An image of busybox with some files on it. */
const commit = async (name: string, script: string): Promise<void> => {
  const id = await docker('create', 'busybox', 'sh', '-c', script)
  await docker('start', '-a', id)
  await docker('commit', '-c', 'CMD ["sh"]', id, name)
  await docker('rm', id)
}

interface Event {
  Action: string
  Actor: { ID: string; Attributes: Record<string, string> }
}

interface Manifest {
  config: { digest: string }
  layers: { mediaType: string; digest: string; size: number }[]
}

const manifestAt = async (repository: string, reference: string) => {
  const found = await registry.manifest(repository, reference)
  return found && { ...found, body: JSON.parse(found.text) as Manifest }
}

const uploads = (asked: string[]): string[] => asked.filter(line => /^(PATCH|PUT .*\/blobs\/)/.test(line))

test('what was made here is pushed compressed, and comes back the same', async () => {
  const name = `${registry.address}/team/made:1`
  await commit(name, 'seq 1 300000 >/many; echo made >/which')
  const said = await docker('push', name)
  assert.match(said, new RegExp(`^The push refers to repository \\[${registry.address}/team/made\\]`))
  const digest = /1: digest: (sha256:\w+) size: \d+/.exec(said)?.[1] ?? ''
  const stored = await manifestAt('team/made', '1')
  assert.equal(stored?.digest, digest)
  for (const { mediaType } of stored?.body.layers ?? [])
    assert.equal(mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip')
  assert.equal(stored?.body.layers.length, 2)
  assert.ok((stored?.body.layers.at(-1)?.size ?? 0) < 1_000_000, 'it was 2 MB')
  assert.equal(
    await docker('image', 'inspect', '-f', '{{.RepoDigests}} {{.RepoTags}}', name),
    `[${registry.address}/team/made@${digest}] [${name}]`,
  )
  // Again: nothing is sent, and the digest is the same.
  await registry.seen()
  const again = await pushed(`${registry.address}/team/made`, '1')
  assert.equal(again.digest, digest)
  assert.equal(statuses(again.lines).filter(text => text === 'Layer already exists').length, 2)
  assert.deepEqual(uploads(await registry.seen()), [])
  // It comes back as it went.
  const id = await docker('image', 'inspect', '-f', '{{.Id}}', name)
  await docker('rmi', '-f', id)
  assert.match(await docker('pull', name), new RegExp(`Digest: ${digest}`))
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'made')
  assert.equal(await docker('image', 'inspect', '-f', '{{.Id}}', name), id)
})

test('another registry gets the same without a compression, and another repository by a mount', async () => {
  await using other = await ImageRegistry.start(daemon.namespace, { apart: true })
  const name = `${registry.address}/team/twice:1`
  await commit(name, 'seq 1 200000 >/numbers')
  const first = await pushed(`${registry.address}/team/twice`, '1')
  const prepared = (lines: Line[]) =>
    lines.some(({ status, progressDetail }) => status === 'Preparing' && progressDetail?.current)
  assert.ok(prepared(first.lines))
  for (const { aux, status } of first.lines.slice(-2)) assert.ok(aux || status?.startsWith('1: digest: '))
  await docker('tag', name, `${other.address}/elsewhere:2`)
  const second = await pushed(`${other.address}/elsewhere`, '2')
  assert.equal(second.digest, first.digest)
  assert.ok(!prepared(second.lines))
  assert.equal(statuses(second.lines).filter(text => text === 'Pushed').length, 2)
  await docker('tag', name, `${registry.address}/team/mounted:3`)
  await registry.seen()
  const third = await pushed(`${registry.address}/team/mounted`, '3')
  assert.equal(third.digest, first.digest)
  assert.equal(statuses(third.lines).filter(text => text === 'Mounted from team/twice').length, 1)
  assert.deepEqual(uploads(await registry.seen()), [])
  // A registry that does not mount gets the bytes.
  await registry.refuseMounts(true)
  await docker('tag', name, `${registry.address}/team/unmounted:3`)
  const fourth = await pushed(`${registry.address}/team/unmounted`, '3')
  assert.equal(fourth.digest, first.digest)
  assert.equal(statuses(fourth.lines).filter(text => text === 'Pushed').length, 2)
  assert.equal(await registry.sessions(), 0)
  await registry.refuseMounts(false)
})

test('pushes of one image at the same time compress it once', async () => {
  const places = ['left', 'right'].map(side => `${registry.address}/at-once/${side}`)
  await commit('at-once:1', 'seq 1 500000 >/numbers')
  for (const place of places) await docker('tag', 'at-once:1', `${place}:1`)
  const both = await Promise.all(places.map(place => pushed(place, '1')))
  assert.equal(both[0]?.digest, both[1]?.digest)
  const prepared = both.filter(({ text }) => text.includes('"Preparing","progressDetail":{"current"'))
  assert.equal(prepared.length, 1)
})

test('what was pulled is pushed as it came', async () => {
  const { digest } = await registry.serve({ repository: 'origin', tag: '1', which: 'origin', bytes: 1 << 20 })
  await docker('pull', '-q', `${registry.address}/origin:1`)
  await docker('tag', `${registry.address}/origin:1`, `${registry.address}/copy:2`)
  const { lines, digest: sent } = await pushed(`${registry.address}/copy`, '2')
  assert.equal(sent, digest)
  assert.deepEqual(lines[0], { status: `The push refers to repository [${registry.address}/copy]` })
  const [first] = lines.filter(({ id }) => id)
  assert.deepEqual(first?.status, 'Preparing')
  assert.equal(statuses(lines).filter(text => text === 'Mounted from origin').length, 3)
  assert.deepEqual(Object.keys(lines.at(-1)?.aux ?? {}), ['Tag', 'Digest', 'Size'])
  const told = await daemon.api('GET', `/events?since=0&until=${(Date.now() + 1) / 1000}`)
  const events = told.text.split('\n').flatMap(line => (line ? [JSON.parse(line) as Event] : []))
  assert.deepEqual(events.filter(({ Action }) => Action === 'push').at(-1)?.Actor, {
    ID: `${registry.address}/copy:2`,
    Attributes: { name: `${registry.address}/copy` },
  })
  // By digest, under no tag.
  const byDigest = await pushed(`${registry.address}/copy@${digest}`)
  assert.equal(byDigest.status, 200, byDigest.text)
  assert.ok(!byDigest.text.includes('error'), byDigest.text)
})

test('all tags of a repository are pushed; what is not here is told with a status', async () => {
  for (const tag of ['a', 'b', 'c']) await docker('tag', 'busybox', `${registry.address}/many:${tag}`)
  const said = await docker('push', '-a', `${registry.address}/many`)
  assert.deepEqual(
    [...said.matchAll(/^(\w): digest: sha256/gm)].map(match => match[1]),
    ['a', 'b', 'c'],
  )
  assert.ok(await manifestAt('many', 'c'))
  const none = await pushed(`${registry.address}/nothing`)
  assert.equal(none.status, 404)
  assert.match(none.text, /An image does not exist locally with the tag: .*\/nothing"/)
  const absent = await pushed(`${registry.address}/many`, 'd')
  assert.equal(absent.status, 404)
  assert.match(absent.text, /tag does not exist: .*\/many:d"/)
  assert.equal((await pushed('Upper/Case', '1')).status, 400)
  const digested = await pushed(`${registry.address}/many@sha256:${'0'.repeat(64)}`, 'a')
  assert.match(digested.text, /cannot import digest reference/)
})

test('of an index the platform that is asked for is pushed', async () => {
  const place = `${registry.address}/many`
  const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const platform = (architecture: string) => ({ platform: JSON.stringify({ os: 'linux', architecture }) })
  assert.equal((await pushed(place, 'a', platform(own))).lines.at(-1)?.aux?.Tag, 'a')
  const other = await pushed(place, 'a', platform('s390x'))
  assert.match(
    other.lines.at(-1)?.error ?? '',
    /image with reference .*many:a was found but does not provide the specified platform \(linux\/s390x\)/,
  )
  assert.match((await pushed(place, 'a', { platform: '{' })).text, /failed to parse platform/)
  assert.match((await pushed(place, 'a', { platform: '{"os":"linux"}' })).text, /both OS and Architecture/)
})

test('an index is pushed whole where the registry has what is not here, else the image that is', async () => {
  const index = await registry.serveIndex('multi', '1', [
    { repository: 'multi', tag: 'x', which: 'other', architecture: 's390x' },
    { repository: 'multi', tag: 'y', which: 'own' },
  ])
  const own = (await manifestAt('multi', 'y'))?.digest
  const name = `${registry.address}/multi:1`
  await docker('pull', '-q', name)
  await docker('tag', name, `${registry.address}/multi:2`)
  const whole = await pushed(`${registry.address}/multi`, '2')
  assert.equal(whole.digest, index)
  assert.equal((await registry.manifest('multi', '2'))?.digest, index)
  await docker('tag', name, `${registry.address}/single:2`)
  const { lines, digest } = await pushed(`${registry.address}/single`, '2')
  assert.equal(digest, own)
  const note = lines.find(({ aux }) => aux?.manifestPushedInsteadOfIndex)?.aux
  const { originalIndex, selectedManifest } = note ?? {}
  assert.equal(originalIndex?.digest, index)
  assert.equal(selectedManifest?.digest, own)
  assert.equal((await registry.manifest('single', '2'))?.digest, own)
  await docker('rmi', `${registry.address}/single:2`)
  assert.match(await docker('pull', `${registry.address}/single:2`), new RegExp(`Digest: ${own}`))
})

test('another platform’s layers are mounted from where its index is', async () => {
  await registry.serveIndex('both', '1', [
    { repository: 'both', tag: 'x', which: 'both of them', architecture: 's390x' },
    { repository: 'both', tag: 'y', which: 'both, own' },
  ])
  const name = `${registry.address}/both:1`
  await docker('pull', '-q', name)
  await docker('pull', '-q', '--platform', 'linux/s390x', name)
  await docker('tag', name, `${registry.address}/other:1`)
  const platform = JSON.stringify({ os: 'linux', architecture: 's390x' })
  await registry.seen()
  const { lines, text } = await pushed(`${registry.address}/other`, '1', { platform })
  assert.equal(lines.at(-1)?.error, undefined)
  assert.ok(statuses(lines).includes('Mounted from both'), text)
  assert.deepEqual(uploads(await registry.seen()), [])
})

test('an index that is here whole is pushed whole', async () => {
  const index = await registry.serveIndex('archived', '1', [
    { repository: 'archived', tag: 'x', which: 'theirs', architecture: 's390x' },
    { repository: 'archived', tag: 'y', which: 'ours' },
  ])
  const archive = path.join(daemon.base, 'index.tar')
  const copy = ['skopeo', 'copy', '-q', '--all', '--src-tls-verify=false']
  const from = `docker://${registry.address}/archived:1`
  const copied = await daemon.onHost([...copy, from, `oci-archive:${archive}`])
  assert.equal(copied.code, 0, copied.stderr)
  const id = /sha256:\w{64}/.exec(await docker('load', '-i', archive))?.[0] ?? ''
  await using other = await ImageRegistry.start(daemon.namespace)
  await docker('tag', id, `${other.address}/moved:1`)
  const { digest, lines } = await pushed(`${other.address}/moved`, '1')
  assert.equal(digest, index, JSON.stringify(lines))
  for (const architecture of ['s390x', process.arch === 'arm64' ? 'arm64' : 'amd64']) {
    const only = { platform: JSON.stringify({ os: 'linux', architecture }) }
    const one = await pushed(`${other.address}/moved`, '1', only)
    assert.notEqual(one.digest, index)
    assert.equal((await other.manifest('moved', '1'))?.digest, one.digest)
  }
})

test('what is told of a layer goes through its stages, and never backwards', async () => {
  const name = await fresh('stages')
  const { lines } = await pushed(name, '1')
  const big = lines.find(({ progressDetail }) => (progressDetail?.total ?? 0) > 3 << 20)?.id
  const ofBig = lines.filter(({ id }) => id === big)
  const stages = statuses(ofBig).filter((stage, index, all) => stage !== all[index - 1])
  assert.deepEqual(
    stages.filter(stage => stage !== 'Waiting'),
    ['Preparing', 'Pushing', 'Pushed'],
  )
  for (const stage of ['Preparing', 'Pushing']) {
    const bytes = ofBig.flatMap(line => (line.status === stage ? (line.progressDetail?.current ?? []) : []))
    assert.ok(bytes.length > 0, stage)
    assert.deepEqual(
      bytes,
      [...bytes].sort((a, b) => a - b),
    )
  }
})

test('layers go while others are still compressed, and a refusal ends the compressing', async () => {
  const name = `${registry.address}/early`
  await commit(`${name}:1`, 'dd if=/dev/urandom of=/noise bs=1M count=48 2>/dev/null')
  const there = blobNames().sort()
  await registry.fault(/^HEAD .*early\/blobs/, { status: 403 })
  const { lines } = await pushed(name, '1')
  assert.match(lines.at(-1)?.error ?? '', /^denied: /)
  assert.deepEqual(blobNames().sort(), there)
  const { text } = await pushed(name, '1')
  const preparing = text.lastIndexOf('"Preparing","progressDetail":{"current"')
  assert.ok(text.search(/"(Pushed|Mounted from [^"]*)"/) < preparing, text)
})

test('a push that is cancelled while it compresses leaves nothing', async () => {
  const name = `${registry.address}/large`
  await commit(`${name}:1`, 'dd if=/dev/urandom of=/noise bs=1M count=48 2>/dev/null')
  const there = blobNames().sort()
  const client = startPush(`${name}:1`)
  await until('it compresses', async () =>
    (await operations()).some(({ Step }) => Step === 'compressing layers'),
  )
  await client.leave()
  await until('it has ended', async () => (await operations()).length === 0)
  assert.deepEqual(blobNames().sort(), there)
  assert.equal(await registry.manifest('large', '1'), undefined)
})

const blobNames = (): string[] => readdirSync(path.join(daemon.dataRoot, 'blobs/sha256'))

/** An image under a name of this registry, never pushed, with a layer that does not compress. */
const fresh = async (repository: string): Promise<string> => {
  await commit(
    `${registry.address}/${repository}:1`,
    'dd if=/dev/urandom of=/noise bs=1M count=3 2>/dev/null',
  )
  return `${registry.address}/${repository}`
}

/** It is there then, and whole. */
const pushesThen = async (repository: string): Promise<void> => {
  const name = `${registry.address}/${repository}`
  const { lines, digest } = await pushed(name, '1')
  assert.equal(lines.at(-1)?.error, undefined)
  assert.equal((await registry.manifest(repository, '1'))?.digest, digest)
  await docker('rmi', '-f', await docker('image', 'inspect', '-f', '{{.Id}}', `${name}:1`))
  await docker('pull', '-q', `${name}:1`)
  assert.equal(await docker('run', '--rm', `${name}:1`, 'wc', '-c', '/noise'), `${3 << 20} /noise`)
  assert.deepEqual(
    blobNames().filter(file => file.startsWith('.')),
    [],
  )
}

test('a cut, a busy registry and lost uploads are overcome by themselves', async () => {
  await fresh('troubled')
  await registry.fault(/^(PUT|PATCH) .*troubled\/blobs\/uploads/, { cutUploadAfter: 1 << 20 })
  await registry.fault(/^(PUT|PATCH) .*troubled\/blobs\/uploads/, {
    status: 404,
    text: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}',
  })
  await registry.fault(/^POST .*troubled\/blobs\/uploads/, { status: 503 })
  await registry.fault(/^PUT .*troubled\/manifests/, { status: 429, headers: { 'retry-after': '1' } })
  await pushesThen('troubled')
  assert.equal(await registry.sessions(), 0)
})

test('a refusal is told in the registry’s words, and does no harm', async () => {
  const name = await fresh('refused')
  const refusals = [
    [/^HEAD .*refused\/blobs/, { status: 401, text: '' }, /unauthorized|no basic auth credentials/i],
    [
      /^POST .*refused\/blobs\/uploads\/$/,
      {
        status: 403,
        text: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      },
      /^denied: requested access to the resource is denied$/,
    ],
    [
      /^PUT .*refused\/manifests/,
      { status: 400, text: '{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}' },
      /^manifest invalid: no$/,
    ],
    [
      /^PUT .*refused\/manifests/,
      { headers: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } },
      /stored manifest sha256:\w+ as sha256:0000/,
    ],
  ] as const
  for (const [url, fault, words] of refusals) {
    await registry.fault(url, fault)
    const { status, lines } = await pushed(name, '1')
    assert.equal(status, 200)
    assert.match(lines.at(-1)?.error ?? '', words)
    assert.deepEqual(lines.at(-1)?.errorDetail, { message: lines.at(-1)?.error })
  }
  const client = await daemon.docker(['push', '127.0.0.1:9/nobody:1'])
  assert.match(client.stderr, /An image does not exist locally with the tag: 127.0.0.1:9\/nobody/)
  await pushesThen('refused')
})

test('a tag that may not be changed is no hindrance to a push of the same', async () => {
  const name = await fresh('immutable')
  const { digest } = await pushed(name, '1')
  const refusal = { status: 412, text: '{"errors":[{"code":"PRECONDITION","message":"immutable"}]}' }
  await registry.fault(/^PUT .*immutable\/manifests\/1/, refusal, 2)
  assert.equal((await pushed(name, '1')).digest, digest)
  await docker('tag', 'busybox', `${name}:1`)
  assert.match((await pushed(name, '1')).lines.at(-1)?.error ?? '', /immutable/)
  assert.equal((await registry.manifest('immutable', '1'))?.digest, digest)
})

test('a registry that goes away ends a push, and the next one succeeds', async () => {
  const name = await fresh('away')
  await registry.fault(/^(PATCH|PUT|POST|HEAD) .*away\/blobs/, { cutUploadAfter: 0 }, 1000)
  const { lines } = await pushed(name, '1')
  assert.match(lines.at(-1)?.error ?? '', /the connection was cut|connection reset by peer/)
  assert.equal(await registry.manifest('away', '1'), undefined)
  await registry.wellAgain()
  await pushesThen('away')
})

test('a blob that a registry loses between two pushes is sent again', async () => {
  const name = await fresh('forgetful')
  const { digest } = await pushed(name, '1')
  const layer = (await manifestAt('forgetful', digest))?.body.layers.at(-1)?.digest ?? ''
  await registry.forget(layer)
  await registry.seen()
  const { lines } = await pushed(name, '1')
  assert.deepEqual(
    statuses(lines)
      .filter(text => /^(Pushed|Layer already exists)$/.test(text))
      .sort(),
    ['Layer already exists', 'Pushed'],
  )
  assert.equal(uploads(await registry.seen()).length, 1)
  await pushesThen('forgetful')
})

/** A client that pushes, and takes its leave when told. */
const startPush = (name: string) => {
  const client = spawn(daemon.client, ['push', name], {
    env: { ...process.env, ...daemon.dockerEnv },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [client.stdout, client.stderr])
    stream.on('data', chunk => {
      text += chunk
    })
  const ended = new Promise<number | null>(resolve => client.once('close', resolve))
  return {
    said: () => text,
    ended,
    leave: async () => {
      client.kill('SIGKILL')
      await ended
    },
  }
}

interface Listed {
  Id: string
  Verb: string
  Step: string
}

const operations = async (): Promise<Listed[]> =>
  (await daemon.json<Listed[]>('GET', '/berth/v1/operations')).filter(({ Verb }) => Verb === 'push')

const isSending = async (count: number): Promise<boolean> =>
  (await operations()).filter(({ Step }) => Step.startsWith('sending layers')).length === count

test('pushes of the same share what is under way, and each ends with its client', async () => {
  const name = await fresh('shared')
  // The answer to the upload's beginning never ends.
  await registry.fault(/^POST .*shared\/blobs\/uploads/, { silentAfter: 0, status: 500, text: 'x' })
  const first = startPush(`${name}:1`)
  await until('the first waits', () => isSending(1))
  const second = startPush(`${name}:1`)
  await until('the second waits, too', () => isSending(2))
  const held = await daemon.docker([
    'rmi',
    '-f',
    await docker('image', 'inspect', '-f', '{{.Id}}', `${name}:1`),
  ])
  assert.match(held.stderr, /image is being used by an operation in progress/)
  await first.leave()
  await until('the first has ended', async () => (await operations()).length === 1)
  const [left] = await operations()
  await daemon.json('DELETE', `/berth/v1/operations/${left?.Id}`)
  assert.equal(await second.ended, 1)
  assert.match(second.said(), /push of image .*shared:1 was cancelled by/)
  const begun = (await registry.seen()).filter(line => /^POST .*shared\/blobs\/uploads\/$/.test(line))
  assert.ok(begun.length <= 3, begun.join('\n'))
  await pushesThen('shared')
})

test('Debian’s registry takes what is pushed', async () => {
  await using _registry = await startDistribution({ namespace: daemon.namespace, address: ':5000' })
  await commit('localhost:5000/team/app:1', 'seq 1 100000 >/numbers')
  await until('it answers', async () => {
    const { code } = await daemon.docker(['push', 'localhost:5000/team/app:1'])
    return code === 0
  })
  await docker('tag', 'localhost:5000/team/app:1', 'localhost:5000/other/app:2')
  const { lines, digest } = await pushed('localhost:5000/other/app', '2')
  assert.equal(statuses(lines).filter(text => text === 'Mounted from team/app').length, 2)
  await docker('rmi', '-f', await docker('images', '-q', 'localhost:5000/team/app:1'))
  assert.match(await docker('pull', 'localhost:5000/other/app:2'), new RegExp(`Digest: ${digest}`))
  assert.equal(await docker('run', '--rm', 'localhost:5000/other/app:2', 'tail', '-1', '/numbers'), '100000')
})

test('a registry that wants a name and a password gets them after docker login', async () => {
  await using locked = await ImageRegistry.start(daemon.namespace, {
    basic: { username: 'anna', password: 'her secret' },
  })
  const name = `${locked.address}/private:1`
  await docker('tag', 'busybox', name)
  const refused = await daemon.docker(['push', name])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /no basic auth credentials/)
  await daemon.mustDocker(['login', '-u', 'anna', '--password-stdin', locked.address], {
    input: 'her secret',
  })
  assert.match(await docker('push', name), /1: digest: sha256:/)
  assert.ok(!daemon.log.includes('her secret'))
})

test('a registry with TLS and tokens gets what is pushed, and mounts what it has', async () => {
  await using locked = await ImageRegistry.start(daemon.namespace, {
    tls: makeCertificates().server,
    tokens: { users: { anna: 'her secret' }, identityTokens: ['identity of anna'] },
    apart: true,
  })
  const place = `${locked.address}/tokens`
  await commit(`${place}/first:1`, 'echo token >/which')
  const denied = await daemon.docker(['push', `${place}/first:1`])
  assert.match(denied.stderr, /^(denied|unauthorized): /)
  await daemon.mustDocker(['login', '-u', 'anna', '--password-stdin', locked.address], {
    input: 'her secret',
  })
  const digest = /digest: (sha256:\w+)/.exec(await docker('push', `${place}/first:1`))?.[1]
  await docker('tag', `${place}/first:1`, `${place}/second:1`)
  const said = await docker('push', `${place}/second:1`)
  assert.match(said, /Mounted from tokens\/first/)
  assert.ok(said.includes(`1: digest: ${digest} `))
})
