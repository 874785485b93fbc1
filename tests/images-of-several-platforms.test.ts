import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../src/oci/digest.ts'
import { mediaTypes } from '../src/oci/image.ts'
import type {
  AttestationStatement,
  ImageInspect,
  ImageManifestSummary,
  ImageSummary,
} from '../src/wire/image.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import {
  ociArchive,
  type PlatformImages,
  PlatformRegistry,
  platformImages,
} from './harness/platformImages.ts'
import { must } from './harness/shell.ts'

const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
const other = own === 'arm64' ? 'amd64' : 'arm64'

let daemon: TestDaemon
let registry: PlatformRegistry
let made: PlatformImages
let name = ''
before(async () => {
  daemon = await startDaemon()
  registry = await PlatformRegistry.start(daemon.namespace)
  made = await platformImages(['s390x', other, own])
  name = `${registry.address}/multi:1`
  await registry.serve('multi', '1', made)
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

const platform = (architecture: string): string =>
  encodeURIComponent(JSON.stringify({ os: 'linux', architecture }))

const configOf = (architecture: string, of = made): string => of.images[architecture]?.config ?? ''

const image = (of: string, query = ''): Promise<ImageInspect> =>
  daemon.json('GET', `/v1.55/images/${of}/json${query}`)

const list = (query = ''): Promise<ImageSummary[]> => daemon.json('GET', `/v1.55/images/json?${query}`)

const manifests = async (of = name): Promise<ImageManifestSummary[]> =>
  (await image(of, '?manifests=1')).Manifests ?? []

const available = async (of = name): Promise<string[]> =>
  (await manifests(of)).flatMap(entry =>
    entry.Kind === 'image' && entry.Available ? [entry.ImageData.Platform.architecture] : [],
  )

const stored = async (): Promise<string[]> =>
  (await must(['ls', path.join(daemon.dataRoot, 'blobs/sha256')])).split('\n').filter(Boolean)

test('a platform pulled beside another keeps it, and a name stands for that of this host', async () => {
  assert.match(await docker('pull', '--platform', 'linux/s390x', name), /Downloaded newer image/)
  assert.equal((await image(name)).Id, configOf('s390x'))
  assert.match(await docker('pull', '--platform', `linux/${other}`, name), /Downloaded newer image/)
  assert.equal((await image(name)).Id, configOf(other))
  assert.match(await docker('pull', name), /Downloaded newer image/)
  assert.equal((await image(name)).Id, configOf(own))
  assert.match(await docker('pull', '--platform', `linux/${other}`, name), /Image is up to date/)
  assert.equal((await image(name)).Id, configOf(own))
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), `it ${own}`)
  for (const architecture of ['s390x', other, own])
    assert.equal(
      await docker('run', '--rm', '--platform', `linux/${architecture}`, name, 'cat', '/which'),
      `it ${architecture}`,
    )
})

test('the platforms of an index are one row, with all its manifests', async () => {
  const rows = await list('manifests=1&identity=1&shared-size=1')
  assert.deepEqual(
    rows.map(row => [row.Id, row.RepoTags, row.Descriptor?.digest]),
    [[configOf(own), [name], made.index.digest]],
  )
  assert.equal(await docker('images', '-q', '-f', 'dangling=true'), '')
  assert.match(await docker('image', 'prune', '-f'), /^Total reclaimed space: 0B$/)
  const listed = rows[0]?.Manifests ?? []
  assert.deepEqual(
    listed.map(entry => [entry.Kind, entry.Available, entry.ID]),
    [
      ...['s390x', other, own].map(arch => ['image', true, made.images[arch]?.manifest.digest]),
      ...['s390x', other, own].map(arch => ['attestation', true, made.images[arch]?.attestation]),
    ],
  )
  const [first, , , attestation] = listed
  assert.ok(first?.Kind === 'image' && attestation?.Kind === 'attestation')
  assert.deepEqual(first.ImageData.Platform, { architecture: 's390x', os: 'linux' })
  assert.equal(first.Size.Total, first.Size.Content + first.ImageData.Size.Unpacked)
  const repository = name.replace(/:1$/, '')
  assert.deepEqual(first.ImageData.Identity, { Pull: [{ Repository: repository }] })
  assert.equal(attestation.AttestationData.For, made.images['s390x']?.manifest.digest)
  assert.deepEqual((await image(name)).Identity, { Pull: [{ Repository: repository }] })
})

test('fields come and go with the API’s versions', async () => {
  const at = async (version: string, query = ''): Promise<ImageSummary | undefined> =>
    (await daemon.json<ImageSummary[]>('GET', `/v${version}/images/json?${query}`))[0]
  assert.equal((await at('1.46', 'manifests=1'))?.Manifests, undefined)
  assert.equal((await at('1.47', 'manifests=1'))?.Manifests?.length, 6)
  assert.equal((await at('1.47'))?.Descriptor, undefined)
  assert.deepEqual([(await at('1.50'))?.Containers, (await at('1.51'))?.Containers], [-1, 0])
  assert.equal((await at('1.43'))?.VirtualSize, (await at('1.44'))?.Size)
  const alone = await daemon.api('GET', '/v1.54/images/json?identity=1')
  assert.equal(alone.status, 400)
  assert.match(alone.text, /conflicting options: identity requires manifests=1/)
  const inspected = async (version: string): Promise<ImageInspect & { Config: Record<string, unknown> }> =>
    daemon.json('GET', `/v${version}/images/${name}/json`)
  assert.equal('Hostname' in (await inspected('1.49')).Config, true)
  const middle = await inspected('1.51')
  assert.deepEqual(['Hostname' in middle.Config, middle.Config['Volumes'], middle.Comment], [false, null, ''])
  const newest = await inspected('1.52')
  assert.deepEqual(
    ['Volumes' in newest.Config, 'Comment' in newest, 'Parent' in newest, 'Identity' in newest],
    [false, false, false, false],
  )
  assert.equal((await inspected('1.47')).Descriptor, undefined)
  assert.equal((await inspected('1.44')).Container, '')
})

test('inspect and history of a platform tell of its image', async () => {
  const found = await image(name, `?platform=${platform(other)}`)
  assert.deepEqual(
    [found.Id, found.Architecture, found.Descriptor?.digest, found.RepoTags],
    [configOf(other), other, made.images[other]?.manifest.digest, [name]],
  )
  const history = await daemon.json<{ CreatedBy: string; Tags: string[] | null }[]>(
    'GET',
    `/v1.48/images/${name}/history?platform=${platform(other)}`,
  )
  assert.deepEqual(
    history.map(entry => [entry.CreatedBy, entry.Tags]),
    [
      [other, [name]],
      ['base', null],
    ],
  )
  const refused = async (query: string): Promise<[number, string]> => {
    const { status, text } = await daemon.api('GET', `/v1.55/images/${name}/json?${query}`)
    return [status, (JSON.parse(text) as { message: string }).message]
  }
  assert.deepEqual(await refused(`platform=${platform('riscv64')}`), [
    404,
    `image with reference ${name} was found but does not provide the specified platform (linux/riscv64)`,
  ])
  assert.deepEqual(await refused(`platform=${platform(own)}&manifests=1`), [
    400,
    'conflicting options: manifests and platform options cannot both be set',
  ])
  assert.deepEqual(await refused('platform=%7B%22os%22%3A%22linux%22%7D'), [
    400,
    'both OS and Architecture must be provided',
  ])
  assert.equal((await refused('platform=linux'))[0], 400)
})

test('attestations are those of a platform, by type, with their statements', async () => {
  const get = async (query = ''): Promise<AttestationStatement[]> =>
    daemon.json('GET', `/v1.55/images/${name}/attestations?${query}`)
  const all = await get()
  assert.deepEqual(
    all.map(entry => [entry.Descriptor.digest, 'Statement' in entry]),
    made.images[own]?.statements.map(digest => [digest, false]),
  )
  const [one, ...more] = await get(
    `platform=${platform(other)}&type=${encodeURIComponent('https://spdx.dev/Document')}&statement=1`,
  )
  assert.deepEqual(more, [])
  assert.equal(one?.PredicateType, 'https://spdx.dev/Document')
  assert.deepEqual((one?.Statement as { predicate: object } | undefined)?.predicate, { architecture: other })
  assert.deepEqual(await get('type=none'), [])
  const missing = await daemon.api(
    'GET',
    `/v1.55/images/${name}/attestations?platform=${platform('ppc64le')}`,
  )
  assert.equal(missing.status, 404)
})

test('a container of another platform shows the name, and keeps the image', async () => {
  await docker('create', '--name', 'foreign', '--platform', `linux/${other}`, name)
  assert.equal(await docker('ps', '-a', '--format', '{{.Image}}', '-f', `ancestor=${name}`), name)
  const used = await daemon.docker(['rmi', name])
  assert.match(used.stderr, /container \w{12} is using its referenced image/)
  const [row] = await list('manifests=1')
  assert.equal(row?.Containers, 1)
  assert.match(await docker('image', 'prune', '-af'), /^Total reclaimed space: 0B$/)
  await docker('rm', 'foreign')
})

test('one platform is saved as its manifest, several as the index', async () => {
  const save = async (query: string): Promise<string[]> => {
    const target = path.join(daemon.base, 'saved.tar')
    await must([
      ...['curl', '-sfg', '--unix-socket', daemon.socket, '-o', target],
      `http://docker/v1.55/images/get?names=${encodeURIComponent(name)}${query}`,
    ])
    return (await must(['tar', '-tf', target])).split('\n')
  }
  const has = (members: string[], digest: string | undefined): boolean =>
    members.includes(`blobs/sha256/${digest?.slice(7)}`)
  const whole = await save('')
  for (const digest of made.blobs.keys()) assert.ok(has(whole, digest), digest)
  const one = await save(`&platform=${platform(other)}`)
  assert.deepEqual(
    [own, other].map(arch => has(one, made.images[arch]?.manifest.digest)),
    [false, true],
  )
  assert.equal(has(one, made.index.digest), false)
  const two = await save(`&platform=${platform(other)}&platform=${platform('s390x')}`)
  assert.deepEqual(
    [own, other, 's390x'].map(arch => has(two, made.images[arch]?.manifest.digest)),
    [false, true, true],
  )
  assert.ok(has(two, made.index.digest) && has(two, made.images[other]?.attestation))
  const missing = await daemon.api('GET', `/v1.55/images/${name}/get?platform=${platform('riscv64')}`)
  assert.equal(missing.status, 404)
  assert.match(missing.text, /no suitable export target found: .*does not provide the specified platform/)
  const many = `?platform=${platform(own)}&platform=${platform(other)}`
  assert.equal((await daemon.api('GET', `/v1.51/images/${name}/get${many}`)).status, 400)
})

test('a restart forgets none of it', async () => {
  await daemon.restart()
  assert.deepEqual(await available(), ['s390x', other, own])
  assert.equal(await docker('run', '--rm', '--platform', 'linux/s390x', name, 'cat', '/which'), 'it s390x')
})

test('a platform goes alone, its name goes on with another, and the last takes the name', async () => {
  const remove = (of: string, architectures: string[], more = '&force=1') =>
    daemon.api(
      'DELETE',
      `/v1.50/images/${of}?${architectures.map(arch => `platforms=${platform(arch)}`).join('&')}${more}`,
    )
  const soft = await remove(name, [own], '')
  assert.equal(soft.status, 400)
  assert.match(soft.text, /Content will be removed from all images referencing this variant/)
  const missing = await remove(name, ['riscv64'])
  assert.equal(missing.status, 404)
  assert.match(missing.text, /failed to delete platform linux\/riscv64 for image sha256:/)
  await docker('run', '-d', '--name', 'runs', name, 'sleep', '1000')
  assert.equal((await remove(name, [own])).status, 409)
  await docker('rm', '-f', 'runs')
  const gone = await remove(name, [own])
  assert.deepEqual(JSON.parse(gone.text), [{ Deleted: made.images[own]?.manifest.digest }])
  assert.deepEqual(await available(), ['s390x', other])
  const left = await stored()
  assert.ok(!left.includes(configOf(own).slice(7)) && left.includes(made.index.digest.slice(7)))
  assert.ok([configOf('s390x'), configOf(other)].includes((await image(name)).Id))
  assert.equal((await remove(name, ['s390x', other])).status, 200)
  assert.equal((await daemon.api('GET', `/images/${name}/json`)).status, 404)
  assert.deepEqual(await stored(), [])
})

test('a load takes in every platform that is whole, and the rest later', async () => {
  const loaded = await platformImages([other, own], 'loaded')
  const missing = [configOf(other, loaded) as `sha256:${string}`]
  const part = await ociArchive(loaded, 'docker.io/library/parts:1', missing)
  assert.equal(await daemon.mustDocker(['load', '-q'], { input: part }), 'Loaded image: parts:1')
  assert.deepEqual(await available('parts:1'), [own])
  const refused = async (archive: Buffer, architecture: string): Promise<string> => {
    const { text } = await daemon.api(
      'POST',
      `/v1.48/images/load?platform=${platform(architecture)}`,
      archive,
    )
    return text
  }
  assert.match(await refused(part, other), /requested platform\(s\) .* found, but some content is missing/)
  assert.match(await refused(part, 'riscv64'), /requested platform\(s\) .*riscv64.* not found/)
  const whole = await ociArchive(loaded, 'docker.io/library/parts:1')
  writeFileSync(path.join(daemon.base, 'whole.tar'), whole)
  await docker('load', '-q', '-i', path.join(daemon.base, 'whole.tar'))
  assert.deepEqual(await available('parts:1'), [other, own])
  assert.equal((await list()).length, 1)
  // The other one is unpacked when it is used: nothing is missing.
  const { text: checked } = await daemon.api('POST', '/berth/v1/system/check')
  assert.match(checked, /"Damaged":0/)
  const attested = await daemon.json<AttestationStatement[]>(
    'GET',
    `/v1.55/images/parts:1/attestations?platform=${platform(other)}&statement=1`,
  )
  assert.equal(attested.length, 2)
  assert.equal(
    await docker('run', '--rm', '--platform', `linux/${other}`, 'parts:1', 'cat', '/which'),
    `loaded ${other}`,
  )
  await docker('rmi', 'parts:1')
  assert.deepEqual(await stored(), [])
  assert.match(await refused(whole, other), /Loaded image: parts:1|stream/)
  assert.deepEqual(await available('parts:1'), [other])
  await docker('rmi', 'parts:1')
})

test('a wrong image of another platform does not keep this host’s from being loaded', async () => {
  const loaded = await platformImages([own], 'partly')
  const right = JSON.parse(`${loaded.blobs.get(loaded.index.digest)}`) as { manifests: object[] }
  const put = (value: object, mediaType: string) => {
    const bytes = Buffer.from(JSON.stringify(value))
    loaded.blobs.set(digestOf(bytes), bytes)
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }
  const config = put(
    { architecture: other, os: 'linux', rootfs: { diff_ids: [digestOf('x')] } },
    mediaTypes.ociConfig,
  )
  const wrong = put({ schemaVersion: 2, config, layers: [] }, mediaTypes.ociManifest)
  const platform = { os: 'linux', architecture: other }
  const index = put(
    { ...right, manifests: [{ ...wrong, platform }, ...right.manifests] },
    mediaTypes.ociIndex,
  )
  const archive = await ociArchive({ ...loaded, index }, 'docker.io/library/partly:1')
  assert.equal(await daemon.mustDocker(['load', '-q'], { input: archive }), 'Loaded image: partly:1')
  assert.equal(await docker('run', '--rm', 'partly:1', 'cat', '/which'), `partly ${own}`)
  await docker('rmi', 'partly:1')
  assert.deepEqual(await stored(), [])
})

test('a name by digest goes alone, with the last tag of its repository, or by a prune', async () => {
  await registry.serve('multi', '1', made)
  await docker('pull', name)
  const byDigest = name.replace(/:1$/, `@${made.index.digest}`)
  assert.equal(await docker('rmi', byDigest), `Untagged: ${byDigest}`)
  assert.deepEqual((await image(name)).RepoDigests, [byDigest])
  await docker('pull', byDigest)
  await docker('tag', byDigest, 'elsewhere:1')
  const elsewhere = await daemon.docker([
    'image',
    'inspect',
    `elsewhere@${made.images[other]?.manifest.digest}`,
  ])
  assert.match(elsewhere.stderr, /No such image/)
  assert.deepEqual((await docker('rmi', name)).split('\n'), [`Untagged: ${name}`, `Untagged: ${byDigest}`])
  await docker('pull', byDigest)
  await docker('rmi', 'elsewhere:1')
  assert.equal(await docker('images', '-q', '--no-trunc', '-f', 'dangling=true'), configOf(own))
  assert.match(await docker('image', 'prune', '-f'), new RegExp(`deleted: ${configOf(own)}`, 'i'))
  assert.deepEqual(await stored(), [])
})

test('unnamed platforms of one index are one dangling row, and go together', async () => {
  await docker('pull', name)
  await docker('pull', '--platform', 'linux/s390x', name)
  const newer = await platformImages([own], 'newer')
  await registry.serve('multi', '1', newer)
  await docker('pull', name)
  const rows = await list()
  assert.deepEqual(rows.map(row => row.RepoTags).sort(), [[], [name]])
  assert.equal(await docker('images', '-q', '--no-trunc', '-f', 'dangling=true'), configOf(own))
  await docker('image', 'prune', '-f')
  assert.deepEqual(
    (await list()).map(row => row.Id),
    [configOf(own, newer)],
  )
  await docker('rmi', name)
  assert.deepEqual(await stored(), [])
})
