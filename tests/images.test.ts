import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { busyboxArchive, busyboxLayer, dockerArchive, file } from './harness/images.ts'
import { must, run } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

test('load, run, tag, untag and remove', async () => {
  assert.equal(await docker('load', '-q', '-i', await busyboxArchive()), 'Loaded image: busybox:latest')
  const id = await docker('images', '-q', '--no-trunc', 'busybox')
  assert.match(id, /^sha256:[0-9a-f]{64}$/)
  await docker('tag', 'busybox', 'example.org/team/box:v1')
  assert.equal(await docker('images', '-q', '--no-trunc', 'example.org/team/box'), id)
  assert.equal(await docker('rmi', 'example.org/team/box:v1'), 'Untagged: example.org/team/box:v1')
  await docker('create', '--name', 'user', 'busybox', 'true')
  const used = await daemon.docker(['rmi', 'busybox'])
  assert.match(
    used.stderr,
    /conflict: unable to remove repository reference "busybox" \(must force\) - .*is using/,
  )
  await docker('rm', 'user')
  const removed = (await docker('rmi', 'busybox')).split('\n')
  assert.deepEqual(removed, ['Untagged: busybox:latest', `Deleted: ${id}`])
  assert.match((await daemon.docker(['rmi', 'busybox'])).stderr, /No such image: busybox:latest/)
})

test('nothing of a removed image stays on disk', async () => {
  await docker('load', '-q', '-i', await busyboxArchive())
  await docker('rmi', 'busybox')
  const blobs = await must(['find', path.join(daemon.dataRoot, 'blobs'), '-type', 'f'])
  assert.equal(blobs, '')
  assert.equal(
    await must([
      'find',
      path.join(daemon.dataRoot, 'layers'),
      '-mindepth',
      '1',
      '-maxdepth',
      '1',
      '-name',
      '????????*',
    ]),
    '',
  )
})

test('save and load again give the same ids, for several images', async () => {
  const archive = await dockerArchive([
    {
      tags: ['one:1', 'uno:1'],
      layers: [busyboxLayer(), [file('one', '1')]],
      config: { Labels: { which: 'one' } },
    },
    { tags: ['two:2'], layers: [busyboxLayer(), [file('two', '2')]] },
  ])
  await daemon.mustDocker(['load', '-q'], { input: archive })
  const ids = async (): Promise<string[]> =>
    (await docker('images', '--no-trunc', '--format', '{{.Repository}} {{.ID}}')).split('\n').sort()
  const before = await ids()
  const saved = path.join(daemon.base, 'saved.tar')
  await docker('save', '-o', saved, 'one:1', 'uno:1', 'two:2')
  await docker('rmi', 'one:1', 'uno:1', 'two:2')
  assert.deepEqual(await ids(), [''])
  await docker('load', '-q', '-i', saved)
  assert.deepEqual(await ids(), before)
  const again = path.join(daemon.base, 'again.tar')
  await docker('save', '-o', again, 'one:1', 'uno:1', 'two:2')
  assert.equal((await run(['cmp', saved, again])).code, 0)
  assert.equal(await docker('run', '--rm', 'two:2', 'cat', '/two'), '2')
})

test('others read what we save, and we what they write', async () => {
  const saved = path.join(daemon.base, 'saved.tar')
  const oci = path.join(daemon.base, 'oci')
  await must(['skopeo', 'copy', '-q', `docker-archive:${saved}:two:2`, `oci:${oci}:two`])
  const archive = path.join(daemon.base, 'oci.tar')
  await must(['skopeo', 'copy', '-q', `oci:${oci}:two`, `oci-archive:${archive}:back.example/two:3`])
  await docker('load', '-q', '-i', archive)
  assert.equal(await docker('run', '--rm', 'back.example/two:3', 'cat', '/two'), '2')
  const dockerMade = path.join(daemon.base, 'docker.tar')
  await must(['skopeo', 'copy', '-q', `oci:${oci}:two`, `docker-archive:${dockerMade}:third:1`])
  await docker('load', '-q', '-i', dockerMade)
  assert.equal(await docker('run', '--rm', 'third:1', 'cat', '/two'), '2')
})

test('ls filters, inspect and history', async () => {
  const names = async (...filters: string[]): Promise<string[]> =>
    (
      await docker(
        'images',
        '--format',
        '{{.Repository}}:{{.Tag}}',
        ...filters.flatMap(filter => ['--filter', filter]),
      )
    )
      .split('\n')
      .filter(Boolean)
      .sort()
  assert.deepEqual(await names('label=which=one'), ['one:1', 'uno:1'])
  assert.deepEqual(await names('reference=t*'), ['third:1', 'two:2'])
  assert.deepEqual(await names('dangling=true'), [])
  assert.equal(
    await docker('inspect', '-f', '{{index .Config.Labels "which"}} {{.Os}} {{len .RootFS.Layers}}', 'one:1'),
    'one linux 2',
  )
  assert.match(await docker('history', '--format', '{{.CreatedBy}}', 'one:1'), /layer 1\nlayer 0/)
  assert.match(
    (await daemon.docker(['images', '--filter', 'nonsense=1'])).stderr,
    /invalid filter 'nonsense'/,
  )
})

test('a broken archive is refused, and leaves nothing', async () => {
  const before = await must(['du', '-sk', path.join(daemon.dataRoot, 'blobs')])
  for (const input of [
    Buffer.from('this is no archive'),
    Buffer.alloc(10240),
    (await dockerArchive([{ tags: ['x:1'], layers: [[file('a', 'b')]] }])).subarray(0, 3000),
  ]) {
    const result = await daemon.docker(['load'], { input })
    assert.notEqual(result.code, 0)
    assert.match(result.stderr, /archive/)
  }
  assert.equal(await must(['du', '-sk', path.join(daemon.dataRoot, 'blobs')]), before)
})

test('prune removes unnamed images, or all without a container', async () => {
  await docker('tag', 'one:1', 'two:2')
  await docker('image', 'prune', '-f')
  assert.ok((await docker('images', '-q')).length > 0)
  await docker('create', '--name', 'keeps', 'one:1', 'true')
  await docker('image', 'prune', '-af')
  assert.equal(
    await docker('images', '--format', '{{.ID}}', '--no-trunc').then(text => new Set(text.split('\n')).size),
    1,
  )
  await docker('rm', 'keeps')
  assert.ok(existsSync(daemon.dataRoot))
})

test('an image that others were built upon stays; with them go parents that have no name', async () => {
  const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
  await daemon.loadBusybox()
  await docker('tag', 'busybox', 'base:1')
  await docker('create', '--name', 'maker', 'base:1')
  const middle = await docker('commit', 'maker')
  await docker('create', '--name', 'maker2', middle)
  await docker('commit', 'maker2', 'top:1')
  await docker('rm', 'maker', 'maker2')
  const refused = await daemon.docker(['rmi', '-f', middle])
  assert.match(
    refused.stderr,
    /conflict: unable to delete \w+ \(cannot be forced\) - image has dependent child images/,
  )
  assert.equal((await docker('image', 'prune', '-f')).includes(middle), false)
  await docker('tag', 'top:1', 'kept:1')
  await docker('rmi', 'kept:1')
  await docker('rmi', '--no-prune', 'top:1')
  assert.match(await docker('images', '-q', '--no-trunc', '-a'), new RegExp(middle))
  await docker('create', '--name', 'maker3', middle)
  await docker('commit', 'maker3', 'top:2')
  await docker('rm', 'maker3')
  assert.match(await docker('rmi', 'top:2'), new RegExp(`Deleted: ${middle}`))
})

test('an image in use is not removed by its only name, and its name says so', async () => {
  const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
  await daemon.loadBusybox()
  await docker('create', '--name', 'source', 'busybox', 'sleep', '1000')
  const id = await docker('commit', 'source', 'used:1')
  await docker('create', '--name', 'stopped', 'used:1')
  await docker('run', '-d', '--name', 'running', 'used:1')
  const refused = async (...args: string[]): Promise<string> => (await daemon.docker(['rmi', ...args])).stderr
  assert.match(
    await refused('used:1'),
    /conflict: unable to remove repository reference "used:1" \(must force\) - container \w{12} is using its referenced image \w{12}/,
  )
  assert.match(await refused(id), /\(cannot be forced\) - image is being used by running container \w{12}/)
  await docker('rm', '-f', 'running')
  assert.match(await refused(id), /\(must be forced\) - image is being used by stopped container \w{12}/)
  assert.equal(await docker('rmi', '-f', 'used:1'), 'Untagged: used:1')
  await docker('rm', 'stopped', 'source')
})

const message = async (method: string, url: string): Promise<[number, string]> => {
  const { status, text } = await daemon.api(method, url)
  return [status, (JSON.parse(text) as { message?: string }).message ?? '']
}

test('by its id an image goes with all its names, if they are one’s, or by force', async () => {
  await docker('image', 'prune', '-af')
  await daemon.loadBusybox()
  const id = await docker('images', '-q', '--no-trunc', 'busybox')
  await docker('tag', 'busybox', 'busybox:second')
  assert.match(
    (await daemon.docker(['rmi', id])).stderr,
    /\(must be forced\) - image is referenced in multiple repositories/,
  )
  assert.deepEqual((await docker('rmi', '-f', id)).split('\n').sort(), [
    `Deleted: ${id}`,
    'Untagged: busybox:latest',
    'Untagged: busybox:second',
  ])
  await daemon.loadBusybox()
  await docker('create', '--name', 'left', 'busybox', 'echo', 'still here')
  assert.match(await docker('rmi', '-f', id), new RegExp(`Deleted: ${id}`))
  // What the container needs of it stays with the container.
  assert.equal(await docker('start', '-a', 'left'), 'still here')
  await docker('rm', 'left')
  assert.deepEqual(await message('DELETE', '/images/%20'), [400, 'image name cannot be blank'])
})

test('a tag that would look like a digest is refused', async () => {
  await daemon.loadBusybox()
  assert.deepEqual(await message('POST', '/images/busybox/tag?repo=sha256&tag=1'), [
    400,
    'refusing to create an ambiguous tag using digest algorithm as name',
  ])
})

test('prune takes its filters, and no others', async () => {
  const filtered = (filters: object): string =>
    `/images/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`
  for (const key of ['before', 'since', 'reference'])
    assert.deepEqual(await message('POST', filtered({ [key]: ['busybox'] })), [
      400,
      `invalid filter '${key}'`,
    ])
  assert.deepEqual(await message('POST', filtered({ until: ['1h', '2h'] })), [
    400,
    'more than one until filter specified',
  ])
  const [status, text] = await message('POST', filtered({ until: ['nonsense'] }))
  assert.equal(status, 400)
  assert.match(text, /^invalid value for 'until' filter: /)
  const archive = await dockerArchive(
    ['a', 'b', 'c'].map(which => ({
      tags: [`${which}:1`],
      layers: [[file(which, which)]],
      config: { Labels: { which, [which]: '' } },
    })),
  )
  await daemon.mustDocker(['load', '-q'], { input: archive })
  const left = async (...filters: string[]): Promise<string[]> => {
    await docker('image', 'prune', '-af', ...filters.flatMap(filter => ['--filter', filter]))
    return (await docker('images', '--format', '{{.Repository}}')).split('\n').sort()
  }
  const before = await left('until=2001-01-01')
  assert.deepEqual(
    ['a', 'b', 'c'].filter(which => before.includes(which)),
    ['a', 'b', 'c'],
  )
  const onlyA = await left('label=which=a')
  assert.ok(!onlyA.includes('a') && onlyA.includes('b'))
  const notB = await left('label!=b')
  assert.ok(notB.includes('b') && !notB.includes('c'))
  assert.ok(!(await left('until=1s')).includes('b'))
})
