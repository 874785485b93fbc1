import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type OutgoingMember, tarEntry, writeTar } from '../src/archive/writer.ts'
import { digestOf } from '../src/oci/digest.ts'
import { mediaTypes } from '../src/oci/image.ts'
import { containerTool, packed } from './harness/containerTools.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { busyboxArchive, busyboxLayer, file } from './harness/images.ts'
import { must } from './harness/shell.ts'

let daemon: TestDaemon
let folder = ''
before(async () => {
  daemon = await startDaemon()
  folder = path.join(daemon.base, 'work')
  mkdirSync(folder)
  cpSync(await busyboxArchive(), path.join(folder, 'busybox.tar'))
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

const tool = (program: string, ...args: string[]): Promise<string> => containerTool(folder, program, args)

const stored = async (): Promise<string> => must(['ls', path.join(daemon.dataRoot, 'blobs/sha256')])

/** Loads an archive, runs the image, removes it, and sees that nothing stays. Gives the name that was told. */
const worksAs = async (archive: string, command: string[] = ['echo', 'runs']): Promise<string> => {
  const said = await docker('load', '-q', '-i', archive)
  const [, name = ''] = /^Loaded image(?: ID)?: (\S+)$/m.exec(said) ?? []
  assert.equal(await docker('run', '--rm', name, ...command), 'runs', said)
  await docker('rmi', name)
  assert.equal(await stored(), '', archive)
  return name
}

const tarOf = async (members: Iterable<OutgoingMember>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(writeTar(members)))

const written = (name: string, bytes: Buffer): string => {
  const target = path.join(folder, name)
  writeFileSync(target, bytes)
  return target
}

const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'

/** Two layers and their configuration. */
const content = async () => {
  const layers = await Promise.all([tarOf(busyboxLayer()), tarOf([file('which', 'runs')])])
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Env: ['PATH=/bin'], Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: layers.map(digestOf) },
    }),
  )
  return { layers, config }
}

const hexOf = (bytes: Buffer): string => digestOf(bytes).slice(7)

test('what podman saves is loaded: Docker’s form, with several images, and an OCI archive', async () => {
  await tool('podman', 'load', '-q', '-i', '/work/busybox.tar')
  await tool('podman', 'tag', 'localhost/busybox', 'example.org/box:2')
  for (const format of ['docker-archive', 'oci-archive']) {
    await tool('podman', 'save', '-q', '--format', format, '-o', `/work/${format}.tar`, 'example.org/box:2')
    assert.equal(await worksAs(path.join(folder, `${format}.tar`)), 'example.org/box:2')
  }
  await tool(
    'podman',
    'save',
    '-q',
    '-m',
    '-o',
    '/work/many.tar',
    'example.org/box:2',
    'localhost/busybox:latest',
  )
  const many = path.join(folder, 'many.tar')
  assert.deepEqual((await docker('load', '-q', '-i', many)).split('\n').sort(), [
    'Loaded image: example.org/box:2',
    'Loaded image: localhost/busybox:latest',
  ])
  await docker('rmi', '-f', 'example.org/box:2', 'localhost/busybox:latest')
})

test('what buildah commits is loaded, with its layer that holds nothing', async () => {
  await tool('podman', 'load', '-q', '-i', '/work/busybox.tar')
  const container = await tool('buildah', 'from', '--pull-never', 'localhost/busybox')
  await tool('buildah', 'config', '--cmd', '["echo","runs"]', container)
  for (const format of ['oci-archive', 'docker-archive']) {
    await tool('buildah', 'commit', '-q', container, `${format}:/work/b-${format}.tar:localhost/built:1`)
    assert.equal(await worksAs(path.join(folder, `b-${format}.tar`), []), 'localhost/built:1')
  }
})

test('what skopeo copies is loaded, and a layout that was packed by hand', async () => {
  const from = 'docker-archive:/work/busybox.tar:busybox:latest'
  await tool('skopeo', 'copy', '-q', from, 'oci-archive:/work/s-oci.tar:example.org/copied:1')
  assert.equal(await worksAs(path.join(folder, 's-oci.tar')), 'example.org/copied:1')
  await tool('skopeo', 'copy', '-q', from, 'docker-archive:/work/s-docker.tar:example.org/copied:2')
  assert.equal(await worksAs(path.join(folder, 's-docker.tar')), 'example.org/copied:2')
  await tool('skopeo', 'copy', '-q', from, 'oci:/work/layout:latest')
  const layout = await packed(path.join(folder, 'layout'), path.join(folder, 'layout.tar'))
  assert.match(await worksAs(layout), /^sha256:/)
  assert.match(await worksAs(written('layout.tar.gz', gzipSync(readFileSync(layout)))), /^sha256:/)
  assert.match(await worksAs(written('layout.tar.zst', zstdCompressSync(readFileSync(layout)))), /^sha256:/)
})

test('what umoci makes is loaded', async () => {
  const root = path.join(folder, 'root/bin')
  mkdirSync(root, { recursive: true })
  cpSync('/bin/busybox', path.join(root, 'busybox'))
  const image = '/work/umoci:v1'
  await tool('umoci', 'init', '--layout', '/work/umoci')
  await tool('umoci', 'new', '--image', image)
  await tool('umoci', 'insert', '--image', image, '/work/root', '/')
  await tool('umoci', 'config', '--image', image, '--config.cmd', '/bin/busybox')
  const archive = await packed(path.join(folder, 'umoci'), path.join(folder, 'umoci.tar'))
  assert.match(await worksAs(archive, ['/bin/busybox', 'echo', 'runs']), /^sha256:/)
})

test('what BuildKit’s docker exporter writes is loaded: a layout with compressed layers beside manifest.json', async () => {
  const { layers, config } = await content()
  const blobs = layers.map(layer => gzipSync(layer))
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  })
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: describe(mediaTypes.dockerConfig, config),
      layers: blobs.map(blob => describe(mediaTypes.dockerLayerGzip, blob)),
    }),
  )
  const annotations = {
    'io.containerd.image.name': 'docker.io/library/exported:1',
    'org.opencontainers.image.ref.name': '1',
  }
  const archive = await tarOf([
    ...[...blobs, config, manifest].map(blob => file(`blobs/sha256/${hexOf(blob)}`, blob)),
    file(
      'index.json',
      JSON.stringify({
        schemaVersion: 2,
        manifests: [{ ...describe(mediaTypes.dockerManifest, manifest), annotations }],
      }),
    ),
    file(
      'manifest.json',
      JSON.stringify([
        {
          Config: `blobs/sha256/${hexOf(config)}`,
          RepoTags: ['exported:1'],
          Layers: blobs.map(blob => `blobs/sha256/${hexOf(blob)}`),
        },
      ]),
    ),
    file('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' })),
  ])
  assert.equal(await worksAs(written('exported.tar', archive), ['cat', '/which']), 'exported:1')
})

test('compressed layers and configurations by their digest, as builders in clusters write them', async () => {
  const { layers, config } = await content()
  const blobs = layers.map(layer => gzipSync(layer))
  const names = blobs.map(blob => `${hexOf(blob)}.tar.gz`)
  const archive = await tarOf([
    file(digestOf(config), config),
    ...blobs.map((blob, index) => file(names[index] ?? '', blob)),
    file(
      'manifest.json',
      JSON.stringify([{ Config: digestOf(config), RepoTags: ['packed:1'], Layers: names }]),
    ),
  ])
  const target = written('packed.tar', archive)
  await docker('load', '-q', '-i', target)
  await docker('save', '-o', path.join(folder, 'resaved.tar'), 'packed:1')
  // The manifest that was made for it says how its layers are packed, so that others can read them.
  await tool('skopeo', 'copy', '-q', 'oci-archive:/work/resaved.tar', 'oci:/work/resaved:1')
  await docker('rmi', 'packed:1')
  assert.equal(await worksAs(target, ['cat', '/which']), 'packed:1')
})

test('what old dockers saved is loaded: folders of layers, some of them links', async () => {
  const { layers, config } = await content()
  const [base, top] = layers.map((layer, index) => ({ id: `${index}`.repeat(64), layer }))
  assert.ok(base && top)
  const shared = 'f'.repeat(64)
  const folderOf = (id: string, layer: OutgoingMember): OutgoingMember[] => [
    { entry: tarEntry({ type: 'directory', name: `${id}/`, mode: 0o755 }) },
    file(`${id}/VERSION`, '1.0'),
    file(`${id}/json`, JSON.stringify({ id })),
    layer,
  ]
  const link = (type: 'symlink' | 'link', id: string, linkName: string): OutgoingMember => ({
    entry: tarEntry({ type, name: `${id}/layer.tar`, linkName, mode: 0o777 }),
  })
  const manifestOf = (...ids: string[]): string =>
    JSON.stringify([
      { Config: `${hexOf(config)}.json`, RepoTags: ['old:1'], Layers: ids.map(id => `${id}/layer.tar`) },
    ])
  for (const [type, target] of [
    ['symlink', `../${base.id}/layer.tar`],
    ['link', `${base.id}/layer.tar`],
  ] as const) {
    const archive = await tarOf([
      ...folderOf(shared, link(type, shared, target)),
      ...folderOf(base.id, file(`${base.id}/layer.tar`, base.layer)),
      ...folderOf(top.id, file(`${top.id}/layer.tar`, top.layer)),
      file(`${hexOf(config)}.json`, config),
      file('manifest.json', manifestOf(shared, top.id)),
      file('repositories', JSON.stringify({ old: { '1': top.id } })),
    ])
    assert.equal(await worksAs(written(`old-${type}.tar`, archive), ['cat', '/which']), 'old:1')
  }
  const older = await tarOf([
    ...folderOf(base.id, file(`${base.id}/layer.tar`, base.layer)),
    file('repositories', JSON.stringify({ old: { '1': base.id } })),
  ])
  const refused = await daemon.docker(['load'], { input: older })
  assert.match(refused.stderr, /written by a Docker before 1\.10/)
  assert.equal(await stored(), '')
})

test('skopeo, podman and umoci read what is saved here', async () => {
  await daemon.loadBusybox()
  const id = await docker('images', '-q', '--no-trunc', 'busybox')
  await docker('tag', 'busybox', 'example.org/ours:1')
  await docker('save', '-o', path.join(folder, 'ours.tar'), 'example.org/ours:1')
  for (const form of ['docker-archive', 'oci-archive']) {
    const seen = await tool('skopeo', 'inspect', '--config', `${form}:/work/ours.tar`)
    assert.equal((JSON.parse(seen) as { os: string }).os, 'linux', form)
  }
  await tool('skopeo', 'copy', '-q', 'oci-archive:/work/ours.tar', 'oci:/work/ours:one')
  await tool('umoci', 'unpack', '--image', '/work/ours:one', '/work/bundle')
  assert.equal(
    await must(['ls', path.join(folder, 'bundle/rootfs/bin/busybox')]),
    `${folder}/bundle/rootfs/bin/busybox`,
  )
  assert.match(await tool('podman', 'load', '-q', '-i', '/work/ours.tar'), /example\.org\/ours:1/)
  const theirs = await tool('podman', 'images', '--no-trunc', '-q', 'example.org/ours:1')
  assert.equal(theirs, id)
})
