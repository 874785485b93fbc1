import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { tarEntry } from '../src/archive/writer.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { directory, dockerArchive, file } from './harness/images.ts'
import { run } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const symlink = (name: string, linkName: string) => ({
  entry: tarEntry({ type: 'symlink', name, linkName, mode: 0o777 }),
})

/** An image with files and links, under a name of the test's own. */
const loadImage = async (name: string): Promise<string> => {
  const archive = path.join(daemon.base, `${name}.tar`)
  const bottom = [file('foo', 'old'), directory('subdir'), file('subdir/hello', 'world'), file('gone', 'x')]
  const top = [
    file('foo', 'bar'),
    file('.wh.gone', ''),
    directory('hack'),
    file('hack/name', name),
    symlink('hack/good', '../subdir'),
    symlink('hack/bad', '../../../../../../etc'),
    symlink('hack/absolute', '/etc/passwd'),
  ]
  writeFileSync(archive, await dockerArchive([{ tags: [`${name}:latest`], layers: [bottom, top] }]))
  await daemon.mustDocker(['load', '-q', '-i', archive])
  return (await daemon.mustDocker(['image', 'inspect', '-f', '{{.Id}}', name])).slice('sha256:'.length)
}

interface Wanted {
  image: string
  cmd: string[]
  subpath?: string
  target?: string
  name?: string
  more?: object
}

const create = ({ image, cmd, subpath, target = '/image', name, more }: Wanted) =>
  daemon.api('POST', `/v1.48/containers/create${name ? `?name=${name}` : ''}`, {
    Image: 'busybox',
    Cmd: cmd,
    HostConfig: {
      Mounts: [
        {
          Type: 'image',
          Source: image,
          Target: target,
          ...(subpath === undefined ? {} : { ImageOptions: { Subpath: subpath } }),
        },
      ],
      ...more,
    },
  })

const made = async (wanted: Wanted): Promise<string> => {
  const { status, text } = await create(wanted)
  assert.equal(status, 201, text)
  return (JSON.parse(text) as { Id: string }).Id
}

/** What a container with the mount prints. */
const printed = async (wanted: Wanted): Promise<string> => {
  const id = await made(wanted)
  const out = await daemon.mustDocker(['start', '-a', id])
  await daemon.mustDocker(['rm', id])
  return out
}

const mountsBelow = (folder: string): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4] ?? '')
    .filter(target => target.startsWith(folder) && target !== folder)

const mountsLeft = (): string[] => [
  ...mountsBelow(path.join(daemon.execRoot, 'mounts')),
  ...mountsBelow(path.join(daemon.execRoot, 'subpaths')),
]

for (const runtime of ['crun', 'runc'])
  test(`${runtime}: an image is mounted with all its layers, whole or in part, and nobody can write to it`, async () => {
    await loadImage('whole')
    const at = (cmd: string[], subpath?: string) =>
      printed({
        ...{ image: 'whole', cmd, more: { Runtime: runtime } },
        ...(subpath === undefined ? {} : { subpath }),
      })
    assert.equal(await at(['sh', '-c', 'cat /image/foo; ls /image']), 'barfoo\nhack\nsubdir')
    assert.equal(
      await at(['sh', '-c', 'touch /image/x 2>&1; true']),
      'touch: /image/x: Read-only file system',
    )
    assert.equal(await at(['ls', '/image'], 'subdir'), 'hello')
    assert.equal(await at(['ls', '/image'], 'hack/good'), 'hello')
    assert.equal(await at(['cat', '/image'], 'subdir/hello'), 'world')
    const over = {
      image: 'whole',
      cmd: ['cat', '/etc/passwd'],
      subpath: 'subdir/hello',
      target: '/etc/passwd',
    }
    assert.equal(await printed({ ...over, more: { Runtime: runtime } }), 'world')
    const writable = await made({ image: 'whole', cmd: ['touch', '/image/x'], more: { Privileged: true } })
    assert.match((await daemon.docker(['start', '-a', writable])).stderr, /Read-only file system/)
    await daemon.mustDocker(['rm', writable])
    assert.deepEqual(mountsLeft(), [])
  })

test('a part that leads out of the image is refused, as is one that is not there', async () => {
  await loadImage('parts')
  const out = await create({ image: 'parts', cmd: ['true'], subpath: '../../etc/passwd' })
  assert.equal(out.status, 400)
  assert.match(out.text, /subpath must be a relative path within the volume/)
  for (const [subpath, words] of [
    ['hack/bad', /path concatenation escapes the base directory/],
    ['hack/absolute', /path concatenation escapes the base directory/],
    ['nothing', /cannot access path .*nothing: no such file or directory/],
  ] as const) {
    const id = await made({ image: 'parts', cmd: ['cat', '/image'], subpath })
    const started = await daemon.docker(['start', '-a', id])
    assert.match(started.stderr, words)
    assert.deepEqual(mountsLeft(), [], 'nothing is left mounted')
    await daemon.mustDocker(['rm', id])
  }
})

test('what is asked for wrongly is refused in Docker’s words', async () => {
  const refused = async (mount: object, version = '1.48') => {
    const body = { Image: 'busybox', Cmd: ['true'], HostConfig: { Mounts: [mount] } }
    const { status, text } = await daemon.api('POST', `/v${version}/containers/create`, body)
    return [status, (JSON.parse(text) as { message: string }).message]
  }
  const image = { Type: 'image', Source: 'busybox', Target: '/image' }
  const wrong = 'invalid mount config for type "image": '
  assert.deepEqual(await refused({ ...image, Source: '' }), [400, `${wrong}field Source must not be empty`])
  assert.deepEqual(await refused({ ...image, Target: '' }), [400, `${wrong}field Target must not be empty`])
  assert.deepEqual(await refused({ ...image, Source: 'nothing' }), [404, 'No such image: nothing:latest'])
  assert.deepEqual(
    await refused({ ...image, Type: 'bind', Source: '/tmp', ImageOptions: { Subpath: 'a' } }),
    [400, 'invalid mount config for type "bind": field ImageOptions must not be specified'],
  )
  assert.deepEqual(await refused(image, '1.47'), [400, 'Mount type "Image" needs API v1.48 or newer'])
})

test('inspect shows where an image is mounted', async () => {
  await loadImage('shown')
  const id = await made({ image: 'shown', cmd: ['true'], subpath: 'subdir' })
  const { Mounts } = await daemon.json<{ Mounts: object[] }>('GET', `/containers/${id}/json`)
  assert.deepEqual(Mounts, [
    {
      ...{ Type: 'image', Name: 'shown', Source: path.join(daemon.execRoot, 'mounts', `${id}-0`) },
      ...{ Destination: '/image', Mode: '', RW: false, Propagation: 'rprivate' },
    },
  ])
  await daemon.mustDocker(['rm', id])
  assert.equal(existsSync(path.join(daemon.dataRoot, 'uppers', `${id}-0`)), false)
})

test('an image that is mounted is not removed, but by force once its container has stopped; that starts again', async () => {
  const layers = async () => (await run(['sh', '-c', `ls ${daemon.dataRoot}/layers | wc -l`])).stdout.trim()
  await daemon.mustDocker(['image', 'prune', '-a', '-f'])
  await daemon.loadBusybox()
  const before = await layers()
  const hex = await loadImage('used')
  const id = await made({ image: 'used', cmd: ['sh', '-c', 'cat /image/foo; exec sleep 1000'] })
  await daemon.mustDocker(['start', id])
  const refused = await daemon.docker(['rmi', 'used'])
  assert.match(
    refused.stderr,
    new RegExp(`container ${id.slice(0, 12)} is using its referenced image ${hex.slice(0, 12)}`),
  )
  const hard = await daemon.docker(['rmi', '-f', hex])
  assert.match(hard.stderr, /cannot be forced.*image is being used by running container/)
  await daemon.mustDocker(['image', 'prune', '-a', '-f'])
  assert.equal((await daemon.api('GET', '/images/used/json')).status, 200)
  await daemon.mustDocker(['stop', '-t', '0', id])
  await daemon.mustDocker(['rmi', '-f', hex])
  await daemon.mustDocker(['start', id])
  assert.equal(await daemon.mustDocker(['exec', id, 'cat', '/image/subdir/hello']), 'world')
  await daemon.mustDocker(['rm', '-f', id])
  await daemon.restart()
  assert.equal(await layers(), before, 'nobody needs them any more')
})

test('several mounts of one image, volumes from such a container, and docker cp work', async () => {
  await loadImage('twice')
  const mount = (Target: string) => ({ Type: 'image', Source: 'twice', Target })
  const id = await made({
    ...{ image: 'twice', cmd: ['sleep', '1000'], name: 'twice' },
    more: { Mounts: [mount('/one'), { ...mount('/two'), ImageOptions: { Subpath: 'subdir' } }] },
  })
  const copied = (from: string) => daemon.mustDocker(['cp', `${id}:${from}`, '-'])
  assert.match(await copied('/two/hello'), /world/, 'while it does not run')
  const into = await daemon.docker(['cp', path.join(daemon.base, 'twice.tar'), `${id}:/one/`])
  assert.match(into.stderr, /mounted volume is marked read-only/)
  assert.deepEqual(mountsLeft(), [])
  await daemon.mustDocker(['start', id])
  assert.equal(await daemon.mustDocker(['exec', id, 'cat', '/one/foo', '/two/hello']), 'barworld')
  assert.match(await copied('/two/hello'), /world/, 'while it runs')
  await daemon.mustDocker([
    'create',
    '--name',
    'heir',
    '--volumes-from',
    'twice',
    'busybox',
    'cat',
    '/two/hello',
  ])
  await daemon.mustDocker(['rm', '-f', id])
  assert.equal(await daemon.mustDocker(['start', '-a', 'heir']), 'world')
  await daemon.mustDocker(['rm', 'heir'])
  assert.deepEqual(mountsLeft(), [])
})

test('a daemon that comes back knows the mount, and takes it down when the container ends', async () => {
  await loadImage('kept')
  const running = await made({ image: 'kept', cmd: ['sleep', '1000'], subpath: 'subdir' })
  await daemon.mustDocker(['start', running])
  await daemon.restart()
  assert.equal(await daemon.mustDocker(['exec', running, 'cat', '/image/hello']), 'world')
  assert.match((await daemon.docker(['rmi', 'kept'])).stderr, /is using its referenced image/)
  await daemon.mustDocker(['stop', '-t', '0', running])
  assert.deepEqual(mountsLeft(), [])
  await daemon.mustDocker(['start', running])
  await daemon.loseKernelObjects()
  await daemon.start()
  assert.deepEqual(mountsLeft(), [])
  await daemon.mustDocker(['start', running])
  assert.equal(await daemon.mustDocker(['exec', running, 'cat', '/image/hello']), 'world')
  await daemon.mustDocker(['rm', '-f', running])
  await daemon.mustDocker(['rmi', 'kept'])
})
