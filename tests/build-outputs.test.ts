import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { audit } from './harness/audit.ts'
import { freshPath, makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { ociArchive, platformImages } from './harness/platformImages.ts'
import { must, type Outcome } from './harness/shell.ts'

/** What builds of the real client give besides images: what they tell, answers to questions, files, archives. */

let daemon: TestDaemon
let registry: ImageRegistry
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  registry = await ImageRegistry.start(daemon.namespace)
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const fresh = (name: string): string => freshPath(daemon, name)
const context = (lines: string[], files?: Record<string, string>): string => makeContext(daemon, lines, files)

const build = (folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['buildx', 'build', '--progress=plain', ...options, folder])

const mustBuild = async (folder: string, ...options: string[]): Promise<Outcome> => {
  const outcome = await build(folder, ...options)
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome
}

test('steps, output and warnings are told once each, with the lines that they are about', async () => {
  const folder = context(['FROM busybox as one', 'RUN echo said'])
  const { stderr } = await mustBuild(folder)
  assert.match(stderr, /\[2\/2\] RUN echo said\n/)
  assert.equal(stderr.match(/\d\.\d+ said$/gm)?.length, 1)
  assert.match(stderr, /1 warning found/)
  assert.match(stderr, /FromAsCasing: 'as' and 'FROM' keywords' casing do not match \(line 1\)/)
})

/** What is asked of a Dockerfile; the client shows it as an experiment. */
const ask = (folder: string, question: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['buildx', 'build', `--print=${question}`, ...options, folder], {
    env: { BUILDX_EXPERIMENTAL: '1' },
  })

test('what a Dockerfile takes, what it can build, and what is wrong with it is told without a step', async () => {
  const folder = context([
    '# WHO is greeted',
    'ARG WHO=world',
    'FROM busybox as first',
    'ARG WHO',
    'RUN --mount=type=secret,id=key echo $WHO; false',
    'FROM first AS second',
    'RUN false',
  ])
  const outline = await ask(folder, 'outline', '--build-arg', 'WHO=us', '-t', 'asked')
  assert.equal(outline.code, 0, outline.stderr)
  assert.match(outline.stdout, /TARGET: +second/)
  assert.match(outline.stdout, /WHO +us/)
  assert.match(outline.stdout, /SECRET +REQUIRED\nkey/)
  const targets = await ask(folder, 'targets')
  assert.match(targets.stdout, /TARGET +DESCRIPTION\nfirst *\nsecond \(default\)/)
  const json = JSON.parse((await ask(folder, 'targets,format=json')).stdout)
  assert.equal(json.targets[1].name, 'second')
  const lint = await ask(folder, 'lint')
  assert.match(lint.stdout, /WARNING: FromAsCasing - https[\s\S]*Dockerfile:3\n/)
  const described = await ask(folder, 'subrequests.describe')
  assert.match(described.stdout, /outline +1\.0\.0/)
  const other = await ask(folder, 'convertllb')
  assert.notEqual(other.code, 0)
  assert.match(other.stderr, /unsupported request frontend\.convertllb/)
  assert.doesNotMatch(await daemon.mustDocker(['images']), /asked/)
})

const files = [
  'FROM busybox AS made',
  'RUN mkdir -p /out/deep && echo said >/out/deep/file && chown 7:8 /out/deep/file && chmod 4711 /out/deep/file',
  'RUN ln -s deep/file /out/link && ln /out/deep/file /out/other && mkfifo /out/fifo && : >/out/empty',
  'FROM scratch',
  'COPY --from=made /out /',
]

const seconds = (file: string): number => Math.floor(lstatSync(file).mtimeMs / 1000)

test('files of a result come into a folder of the client, and nothing else', async () => {
  const folder = fresh('files')
  await mustBuild(context(files), '--output', `type=local,dest=${folder}`)
  assert.deepEqual(readdirSync(folder).sort(), ['deep', 'empty', 'fifo', 'link', 'other'])
  assert.equal(readFileSync(path.join(folder, 'link'), 'utf8'), 'said\n')
  const { mode, nlink } = lstatSync(path.join(folder, 'deep/file'))
  assert.deepEqual([mode & 0o777, nlink], [0o711, 2])
  const whole = fresh('whole')
  await mustBuild(context(['FROM busybox', 'RUN cat /etc/hosts /etc/resolv.conf']), '-o', whole)
  assert.equal(lstatSync(path.join(whole, 'bin/sh')).isFile(), true)
  for (const absent of ['.dockerenv', 'etc/hosts', 'etc/resolv.conf', 'run/secrets'])
    assert.equal(lstatSync(path.join(whole, absent), { throwIfNoEntry: false }), undefined, absent)
  const dated = fresh('dated')
  await mustBuild(context(files), '-o', dated, '--build-arg', 'SOURCE_DATE_EPOCH=1000000000')
  assert.equal(seconds(path.join(dated, 'deep/file')), 1_000_000_000)
})

const both = ['--platform', 'linux/amd64,linux/arm64']
const split = ['FROM scratch', 'ARG TARGETARCH', 'COPY $TARGETARCH /']
const perPlatform = (): string =>
  context(split, { 'amd64/one': 'amd', 'amd64/same': 'x', 'arm64/two': 'arm', 'arm64/same': 'y' })

test('files of several platforms come into folders of their own, unless they need none', async () => {
  const folder = fresh('split')
  await mustBuild(perPlatform(), ...both, '-o', folder)
  assert.deepEqual(readdirSync(folder).sort(), ['linux_amd64', 'linux_arm64'])
  assert.equal(readFileSync(path.join(folder, 'linux_arm64/two'), 'utf8'), 'arm')
  const refused = await build(
    perPlatform(),
    ...both,
    '-o',
    `type=local,dest=${fresh('no')},platform-split=false`,
  )
  assert.match(refused.stderr, /cannot overwrite same from linux\/amd64 with linux\/arm64/)
  const archive = fresh('split.tar')
  await mustBuild(perPlatform(), ...both, '-o', `type=tar,dest=${archive}`)
  const names = (await must(['tar', '-tf', archive])).split('\n').sort()
  assert.deepEqual(names, [
    ...['linux_amd64/', 'linux_amd64/one', 'linux_amd64/same'],
    ...['linux_arm64/', 'linux_arm64/same', 'linux_arm64/two'],
  ])
})

test('an archive has owners, modes, links and dates', async () => {
  const archive = fresh('files.tar')
  await mustBuild(
    context(files),
    ...['-o', `type=tar,dest=${archive}`, '--build-arg', 'SOURCE_DATE_EPOCH=1000000000'],
  )
  const listed = await must(['tar', '--numeric-owner', '--utc', '-tvf', archive])
  assert.match(listed, /^-rws--x--x 7\/8 +5 2001-09-09 01:46 deep\/file$/m)
  assert.match(listed, /^h.*other link to deep\/file$/m)
  assert.match(listed, /^l.*link -> deep\/file$/m)
  assert.match(listed, /^p.*fifo$/m)
})

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** A layout that was unpacked. */
const layoutOf = async (archive: string) => {
  const folder = fresh('layout')
  mkdirSync(folder)
  await must(['tar', '-xf', archive, '-C', folder])
  const blob = (digest: string): Buffer => {
    const bytes = readFileSync(path.join(folder, 'blobs/sha256', digest.slice(7)))
    assert.equal(sha256(bytes), digest)
    return bytes
  }
  return {
    names: readdirSync(folder).sort(),
    file: (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')),
    blob,
    json: (digest: string) => JSON.parse(blob(digest).toString()),
  }
}

test('an OCI layout comes as an archive, compressed and annotated as asked', async () => {
  const archive = fresh('image.oci')
  const metadata = fresh('metadata')
  const folder = context(['FROM busybox', 'RUN echo made >/made', 'LABEL a=b'])
  await mustBuild(
    folder,
    ...['-t', 'oci:1', '--metadata-file', metadata],
    ...['-o', `type=oci,dest=${archive},compression=zstd,annotation.made=here`],
  )
  const layout = await layoutOf(archive)
  assert.deepEqual(layout.names, ['blobs', 'index.json', 'oci-layout'])
  const [entry] = layout.file('index.json').manifests
  assert.equal(entry.annotations['io.containerd.image.name'], 'docker.io/library/oci:1')
  assert.equal(entry.platform.os, 'linux')
  const manifest = layout.json(entry.digest)
  assert.deepEqual(manifest.annotations, { made: 'here' })
  assert.equal(manifest.layers.at(-1).mediaType, 'application/vnd.oci.image.layer.v1.tar+zstd')
  assert.deepEqual([...layout.blob(manifest.layers.at(-1).digest).subarray(0, 4)], [0x28, 0xb5, 0x2f, 0xfd])
  const config = layout.json(manifest.config.digest)
  assert.equal(config.config.Labels.a, 'b')
  assert.equal(config.rootfs.diff_ids.length, manifest.layers.length)
  const told = JSON.parse(readFileSync(metadata, 'utf8'))
  assert.equal(told['containerimage.digest'], entry.digest)
  assert.equal(told['containerimage.config.digest'], manifest.config.digest)
  assert.equal(told['image.name'], 'docker.io/library/oci:1')
  assert.equal(told['containerimage.descriptor'].digest, entry.digest)
  assert.doesNotMatch(await daemon.mustDocker(['images']), /^oci /m)
})

test('layers are compressed anew, and dated, where that is asked', async () => {
  const archive = fresh('anew.oci')
  await mustBuild(
    context(['FROM busybox', 'RUN echo made >/made']),
    ...['--build-arg', 'SOURCE_DATE_EPOCH=1000000000'],
    ...['-o', `type=oci,dest=${archive},compression=gzip,force-compression=true,rewrite-timestamp=true`],
  )
  const layout = await layoutOf(archive)
  const manifest = layout.json(layout.file('index.json').manifests[0].digest)
  const tars: Buffer[] = manifest.layers.map(
    ({ digest, mediaType }: { digest: string; mediaType: string }) => {
      assert.match(mediaType, /tar\+gzip$/)
      return gunzipSync(layout.blob(digest))
    },
  )
  assert.deepEqual(layout.json(manifest.config.digest).rootfs.diff_ids, tars.map(sha256))
  const own = fresh('own.tar')
  writeFileSync(own, tars.at(-1) ?? '')
  assert.match(await must(['tar', '--utc', '-tvf', own]), /2001-09-09 01:46 made$/m)
})

test('Docker’s archive is loaded again, and the same image is built into the store', async () => {
  const archive = fresh('image.tar')
  const folder = context(['FROM busybox', 'RUN echo made >/made', 'CMD ["cat", "/made"]'])
  await mustBuild(folder, '-t', 'archived:1', '-o', `type=docker,dest=${archive}`)
  await daemon.mustDocker(['load', '-i', archive])
  assert.equal(await daemon.mustDocker(['run', '--rm', 'archived:1']), 'made')
  const id = await daemon.mustDocker(['inspect', '-f', '{{.Id}}', 'archived:1'])
  await mustBuild(folder, '-t', 'archived:2')
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.Id}}', 'archived:2']), id)
})

test('an index of several platforms has an image for each; by Docker’s archive there is none', async () => {
  const archive = fresh('several.oci')
  await mustBuild(perPlatform(), ...both, '-o', `type=oci,dest=${archive}`)
  const layout = await layoutOf(archive)
  const index = layout.json(layout.file('index.json').manifests[0].digest)
  const platforms = index.manifests.map(({ platform }: { platform: { architecture: string } }) => platform)
  assert.deepEqual(platforms.map(({ architecture }: { architecture: string }) => architecture).sort(), [
    'amd64',
    'arm64',
  ])
  for (const { digest } of index.manifests) {
    const [layer] = layout.json(digest).layers
    assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip')
    layout.blob(layer.digest)
  }
  const refused = await build(perPlatform(), ...both, '-o', `type=docker,dest=${fresh('no')}`)
  assert.match(refused.stderr, /does not (currently )?support exporting manifest lists/)
})

test('an archive goes to the client’s standard output, and one that nobody takes leaves nothing', async () => {
  const folder = context(files)
  const listed = await must(['sh', '-c', `"$0" buildx build -q -o - "$1" | tar -t`, daemon.client, folder], {
    env: daemon.dockerEnv,
  })
  assert.match(listed, /^deep\/file$/m)
  const full = await build(folder, '-o', 'type=oci,dest=/dev/full')
  assert.notEqual(full.code, 0)
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await audit(daemon, 'exports')
})

/** Names of an image’s platforms at a registry, with the media types of their layers. */
const servedPlatforms = async (repository: string, tag: string): Promise<Record<string, string[]>> => {
  const json = async (reference: string) => {
    const found = await registry.manifest(repository, reference)
    assert.ok(found, `${repository}:${reference}`)
    return JSON.parse(found.text)
  }
  const index = await json(tag)
  const found: Record<string, string[]> = {}
  for (const { digest, platform } of index.manifests)
    found[platform.architecture] = (await json(digest)).layers.map(({ mediaType }: { mediaType: string }) =>
      mediaType.replace(/.*layer\.v1\./, ''),
    )
  return found
}

test('an image of several platforms is stored, run and pushed as one', async () => {
  const loaded = await platformImages(['amd64', 'arm64'], 'base')
  await daemon.mustDocker(['load', '-q'], { input: await ociArchive(loaded, 'docker.io/library/base:1') })
  const folder = context([
    'FROM base:1',
    'ARG TARGETARCH',
    'RUN echo $TARGETARCH >/made',
    'CMD ["cat", "/made"]',
  ])
  const metadata = fresh('metadata')
  const name = `${registry.address}/several:1`
  await mustBuild(folder, ...both, '-t', 'several:1', '-t', name, '--metadata-file', metadata)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'several:1']), 'amd64')
  assert.equal(await daemon.mustDocker(['run', '--rm', '--platform', 'linux/arm64', 'several:1']), 'arm64')
  const told = JSON.parse(readFileSync(metadata, 'utf8'))
  assert.match(told['containerimage.digest'], /^sha256:/)
  assert.equal(told['image.name'], `docker.io/library/several:1,${name}`)
  await mustBuild(folder, ...both, '-t', name, '--push')
  const packed = ['tar+gzip', 'tar+gzip', 'tar+gzip']
  assert.deepEqual(await servedPlatforms('several', '1'), { amd64: packed, arm64: packed })
  const single = `${registry.address}/single:1`
  await mustBuild(folder, '-t', single, '--push', '--metadata-file', metadata)
  const { 'containerimage.digest': digest } = JSON.parse(readFileSync(metadata, 'utf8'))
  assert.ok(await registry.manifest('single', digest))
  await daemon.mustDocker(['rmi', 'several:1', name, single, 'base:1'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await audit(daemon, 'images of several platforms')
})

test('an image is pushed by its digest alone, so that an index can name it', async () => {
  const folder = context(['FROM busybox', 'RUN echo digest > /made'])
  const metadata = fresh('metadata')
  const name = `${registry.address}/by-digest`
  // Clients let it through only where they dial the socket themselves.
  await daemon.mustDocker([
    'buildx',
    'create',
    '--name',
    'dials',
    '--driver',
    'remote',
    `unix://${daemon.socket}`,
  ])
  const byDigest = (named: string): string[] => [
    ...['--builder', 'dials', '--output'],
    `type=image,name=${named},push=true,push-by-digest=true,name-canonical=true`,
  ]
  await mustBuild(folder, ...byDigest(name), '--metadata-file', metadata)
  const { 'containerimage.digest': digest } = JSON.parse(readFileSync(metadata, 'utf8'))
  assert.ok(await registry.manifest('by-digest', digest))
  assert.equal(await registry.manifest('by-digest', 'latest'), undefined)
  assert.equal(await daemon.mustDocker(['run', '--rm', `${name}@${digest}`, 'cat', '/made']), 'digest')
  assert.match((await build(folder, ...byDigest(`${name}:1`))).stderr, /can't push tagged ref \S+ by digest/)
  await daemon.mustDocker(['buildx', 'rm', 'dials'])
  await daemon.mustDocker(['rmi', `${name}@${digest}`])
})

test('a step of a platform that this host cannot run says how it could', async () => {
  const lines = ['FROM scratch', 'COPY --chmod=755 program /program', 'RUN ["/program"]']
  const foreign = process.arch === 'arm64' ? 'linux/amd64' : 'linux/arm64'
  const { code, stderr } = await build(
    context(lines, { program: '\x7fELF of another world' }),
    '--platform',
    foreign,
  )
  assert.notEqual(code, 0)
  assert.match(stderr, /runs no programs of linux\/\w+: .*tonistiigi\/binfmt --install/)
})

test('attestations that a user asks for are refused, and not left out', async () => {
  const folder = context(['FROM busybox'])
  for (const option of ['--sbom=true', '--provenance=mode=max'])
    assert.match((await build(folder, option)).stderr, /the attestation \w+ of a build .* is not implemented/)
  await mustBuild(folder, '--provenance=false')
})
