import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { busyboxLayer, directory, dockerArchive, file } from './harness/images.ts'
import { must, until } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  const archive = await dockerArchive([
    {
      tags: ['seeded:1'],
      layers: [
        busyboxLayer(),
        [directory('data', 0o750), file('data/seed', 'seed\n', 0o640), directory('data/sub', 0o700)],
      ],
    },
    {
      tags: ['declared:1'],
      layers: [busyboxLayer(), [directory('data', 0o750), file('data/seed', 'seed\n')]],
      config: { Volumes: { '/data': {} } },
    },
    {
      tags: ['over-file:1'],
      layers: [busyboxLayer(), [file('data', 'a file\n')]],
      config: { Volumes: { '/data': {} } },
    },
  ])
  await daemon.mustDocker(['load', '-q'], { input: archive })
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const refused = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0, args.join(' '))
  return stderr
}
const sh = (options: string[], script: string, image = 'busybox'): Promise<string> =>
  docker('run', '--rm', ...options, image, 'sh', '-c', script)
const lines = (text: string): string[] => text.split('\n').filter(Boolean).sort()
const list = async (...filters: string[]): Promise<string[]> =>
  lines(await docker('volume', 'ls', '-q', ...filters.flatMap(filter => ['-f', filter])))
const removeAll = async (): Promise<void> => {
  const ids = lines(await docker('ps', '-aq'))
  if (ids.length > 0) await docker('rm', '-f', '-v', ...ids)
  const names = await list()
  if (names.length > 0) await docker('volume', 'rm', ...names)
}
const post = async (body: object, version = ''): Promise<{ status: number; message: string }> => {
  const { status, text } = await daemon.api('POST', `${version}/volumes/create`, body)
  return { status, message: (JSON.parse(text) as { message?: string }).message ?? '' }
}

test('a volume is made once, is shown as Docker shows it, and its name is free when it is removed', async () => {
  assert.equal(await docker('volume', 'create', 'kept'), 'kept')
  assert.equal(await docker('volume', 'create', '--label', 'a=1', 'kept'), 'kept')
  const [shown] = JSON.parse(await docker('volume', 'inspect', 'kept')) as Record<string, unknown>[]
  assert.match(String(shown?.['CreatedAt']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  assert.deepEqual(
    { ...shown, CreatedAt: '' },
    {
      CreatedAt: '',
      Driver: 'local',
      Labels: null,
      Mountpoint: path.join(daemon.dataRoot, 'volumes/kept/_data'),
      Name: 'kept',
      Options: null,
      Scope: 'local',
    },
  )
  await docker('volume', 'rm', 'kept')
  assert.match(await refused('volume', 'inspect', 'kept'), /get kept: no such volume/)
  assert.match(await refused('volume', 'rm', 'kept'), /get kept: no such volume/)
  await docker('volume', 'rm', '-f', 'kept')
  const anonymous = await docker('volume', 'create')
  assert.match(anonymous, /^[a-f0-9]{64}$/)
  const labels = await docker('volume', 'inspect', '-f', '{{json .Labels}}', anonymous)
  assert.deepEqual(JSON.parse(labels), { 'com.docker.volume.anonymous': '' })
  await docker('volume', 'rm', anonymous)
})

test('bad names, unknown drivers and cluster volumes are refused in Docker’s words', async () => {
  const cases: [object, number, RegExp][] = [
    [{ Name: 'a' }, 400, /^create a: volume name is too short, names should be at least two alphanumeric/],
    [{ Name: '.hidden' }, 400, /^create \.hidden: "\.hidden" includes invalid characters for a local volume/],
    [{ Name: 'a/b' }, 400, /If you intended to pass a host directory, use absolute path$/],
    [{ Name: 'x'.repeat(300) }, 400, /volume name is too long: it has 300 characters, 237 are allowed/],
    [
      { Name: 'vv', Driver: 'no' },
      404,
      /^create vv: error looking up volume plugin no: plugin "no" not found$/,
    ],
    [{ Name: 'vv', ClusterVolumeSpec: {} }, 503, /^This node is not a swarm manager/],
    [{ Name: 1 }, 400, /Name must be a string/],
  ]
  for (const [body, status, words] of cases) {
    const answer = await post(body)
    assert.equal(answer.status, status, JSON.stringify(answer))
    assert.match(answer.message, words)
  }
  assert.deepEqual(await list(), [])
})

test('lists are filtered by name, label, driver and whether a container uses the volume', async () => {
  await docker('volume', 'create', '--label', 'tier=db', '--label', 'x', 'db-one')
  await docker('volume', 'create', '--label', 'tier=web', 'web-one')
  await docker('create', '--name', 'user', '-v', 'web-one:/w', 'busybox')
  assert.deepEqual(await list(), ['db-one', 'web-one'])
  assert.deepEqual(await list('name=one'), ['db-one', 'web-one'])
  assert.deepEqual(await list('name=^db'), ['db-one'])
  assert.deepEqual(await list('label=tier'), ['db-one', 'web-one'])
  assert.deepEqual(await list('label=tier=db', 'label=x'), ['db-one'])
  assert.deepEqual(await list('driver=local', 'dangling=true'), ['db-one'])
  assert.deepEqual(await list('dangling=false'), ['web-one'])
  assert.deepEqual(await list('driver=other'), [])
  assert.match(await refused('volume', 'ls', '-f', 'size=1'), /invalid filter 'size'/)
  assert.deepEqual(lines(await docker('ps', '-a', '-f', 'volume=web-one', '--format', '{{.Names}}')), [
    'user',
  ])
  await removeAll()
})

test('a named volume is made with its container, shared, kept by rm -v and --rm, and not removed while in use', async () => {
  await sh(['-v', 'shared:/s'], 'echo one > /s/file')
  assert.equal(
    await sh(['-v', 'shared:/s:ro'], 'cat /s/file; touch /s/x 2>/dev/null || echo refused'),
    'one\nrefused',
  )
  const mount = ['--mount', 'type=volume,source=shared,target=/s,readonly']
  assert.equal(await sh(mount, 'cat /s/file; touch /s/x 2>/dev/null || echo refused'), 'one\nrefused')
  const id = await docker('create', '--name', 'user', '-v', 'shared:/s', '-v', '/anonymous', 'busybox')
  const [mounts] = JSON.parse(await docker('inspect', '-f', '[{{json .Mounts}}]', 'user')) as [
    { Destination: string; Name: string }[],
  ]
  assert.deepEqual(
    mounts.find(({ Destination }) => Destination === '/s'),
    {
      Type: 'volume',
      Name: 'shared',
      Source: path.join(daemon.dataRoot, 'volumes/shared/_data'),
      Destination: '/s',
      Driver: 'local',
      Mode: 'z',
      RW: true,
      Propagation: '',
    },
  )
  assert.equal(await docker('inspect', '-f', '{{json .HostConfig.Binds}}', 'user'), '["shared:/s"]')
  const inUse = `remove shared: volume is in use - [${id}]`
  assert.ok((await refused('volume', 'rm', 'shared')).includes(inUse))
  assert.ok((await refused('volume', 'rm', '-f', 'shared')).includes(inUse))
  await docker('rm', '-v', 'user')
  assert.deepEqual(await list(), ['shared'])
  await docker('volume', 'rm', 'shared')
})

test('an anonymous volume that another container uses by its name outlives its own container', async () => {
  await docker('run', '--name', 'first', '-v', '/data', 'busybox', 'sh', '-c', 'echo kept > /data/file')
  const [name = ''] = await list()
  await docker('create', '--name', 'second', '-v', `${name}:/data`, 'busybox', 'cat', '/data/file')
  await docker('rm', '-v', 'first')
  assert.equal(await docker('start', '-a', 'second'), 'kept')
  await docker('rm', '-v', 'second')
  assert.deepEqual(await list(), [name])
  await removeAll()
})

test('an empty volume is filled from the image, its directory’s owner and mode included; one with content is not', async () => {
  const look = 'stat -c %a /data; cat /data/seed; stat -c %a /data/seed /data/sub'
  const filled = '750\nseed\n640\n700'
  assert.equal(await sh(['-v', 'named:/data'], look, 'seeded:1'), filled)
  assert.equal(await sh(['-v', 'named:/data'], 'echo mine > /data/seed; rmdir /data/sub', 'seeded:1'), '')
  assert.equal(await sh(['-v', 'named:/data'], 'cat /data/seed; ls /data', 'seeded:1'), 'mine\nseed')
  await docker('volume', 'create', 'before')
  assert.equal(await sh(['-v', 'before:/data'], look, 'seeded:1'), filled)
  assert.equal(await sh(['-v', 'untouched:/data:nocopy'], 'stat -c %a /data; ls /data', 'seeded:1'), '755')
  const noCopy = ['--mount', 'type=volume,source=untouched,target=/data,volume-nocopy']
  assert.equal(await sh(noCopy, 'ls /data', 'seeded:1'), '')
  assert.equal(await sh(['-v', '/data'], look, 'seeded:1'), filled)
  assert.equal(await sh([], 'cat /data/seed', 'declared:1'), 'seed')
  assert.match(
    await refused('create', 'over-file:1'),
    /cannot mount volume over existing file, file exists \/data/,
  )
  assert.deepEqual(await list(), ['before', 'named', 'untouched'])
  await removeAll()
})

test('links, times, modes and special files come with a filled volume', async () => {
  const make = [
    'mkdir /src; cd /src; echo x > one; ln one two; ln -s one soft; mkfifo pipe 2>/dev/null || mknod pipe p',
    'chown 1000:29 one; chmod 4711 one; mknod null c 1 3; touch -d @1000000000 one; touch -d @1100000000 .',
  ].join('; ')
  await docker('run', '--name', 'maker', 'busybox', 'sh', '-c', make)
  await docker('commit', 'maker', 'tree:1')
  await docker('rm', 'maker')
  const see = [
    'cd /src; stat -c "%a %u %g %Y %h" one; readlink soft; stat -c %Y .; stat -c %F pipe null',
    'test one -ef two && echo same',
  ].join('; ')
  const expected = [
    ...['4711 1000 29 1000000000 2', 'one', '1100000000', 'fifo', 'character special file', 'same'],
  ].join('\n')
  for (const volume of ['fresh', 'older']) {
    if (volume === 'older') await docker('volume', 'create', volume)
    assert.equal(await sh(['-v', `${volume}:/src`], see, 'tree:1'), expected, volume)
  }
  await removeAll()
  await docker('rmi', 'tree:1')
})

test('a volume that a running container has, empty, is filled under its eyes', async () => {
  await docker('run', '-d', '--name', 'watcher', '-v', 'late:/w', 'busybox', 'sleep', '1000')
  await docker('create', '--name', 'filler', '-v', 'late:/data', 'seeded:1')
  assert.equal(await docker('exec', 'watcher', 'cat', '/w/seed'), 'seed')
  assert.equal(await docker('exec', 'watcher', 'stat', '-c', '%a', '/w'), '750')
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'volumes/late')), ['_data'])
  await removeAll()
})

test('containers made at once with one new volume find it whole, and it is made once', async () => {
  const made = Array.from({ length: 6 }, (_, index) => `many${index}`)
  await Promise.all(
    made.map(name => docker('create', '--name', name, '-v', 'common:/data', 'seeded:1', 'ls', '/data')),
  )
  for (const name of made) assert.equal(await docker('start', '-a', name), 'seed\nsub')
  const until = Math.ceil(Date.now() / 1000)
  const events = await daemon.api('GET', `/events?since=0&until=${until}`)
  const all = events.text.split('\n').filter(line => line.includes('"common"'))
  assert.equal(all.filter(line => line.includes('"Action":"create"')).length, 1)
  await removeAll()
})

test('--volumes-from takes over all but tmpfs, read-only where asked, and gives way to own mounts', async () => {
  mkdirSync(path.join(daemon.base, 'bound'))
  writeFileSync(path.join(daemon.base, 'bound/file'), 'bound\n')
  await docker(
    ...['run', '--name', 'giver', '-v', 'given:/v', '-v', '/anonymous', '-v', `${daemon.base}/bound:/b:ro`],
    ...['--tmpfs', '/t', '--mount', 'type=tmpfs,target=/t2', 'busybox', 'sh', '-c', 'echo given > /v/file'],
  )
  const look =
    'cat /v/file /b/file; touch /v/x 2>/dev/null && echo written; ls -d /anonymous /t /t2 2>/dev/null; true'
  assert.equal(await sh(['--volumes-from', 'giver'], `${look}; rm /v/x`), 'given\nbound\nwritten\n/anonymous')
  assert.equal(await sh(['--volumes-from', 'giver:ro'], look), 'given\nbound\n/anonymous')
  assert.equal(await sh(['--volumes-from', 'giver', '-v', 'other:/v'], 'ls /v; cat /b/file'), 'bound')
  assert.match(await refused('create', '--volumes-from', 'nobody', 'busybox'), /No such container: nobody/)
  assert.match(await refused('create', '--volumes-from', 'giver:no', 'busybox'), /invalid mode: no/)
  assert.match(await refused('create', '--volumes-from', 'giver:nocopy', 'busybox'), /invalid mode: nocopy/)
  await docker('create', '--name', 'taker', '--volumes-from', 'giver', 'busybox')
  await docker('rm', '-v', 'giver')
  assert.equal((await list()).length, 3, 'the taker has the anonymous one')
  await docker('rm', '-v', 'taker')
  assert.deepEqual(await list(), ['given', 'other'])
  await removeAll()
})

test('mounts of volumes are checked in Docker’s words, and a failed create leaves no volume', async () => {
  assert.match(
    await refused('create', '-v', 'n/x:/d', 'busybox'),
    /create n\/x: "n\/x" includes invalid characters for a local volume name/,
  )
  assert.match(
    await refused('create', '-v', 'name:/d:rshared', 'busybox'),
    /invalid volume specification: 'name:\/d:rshared': invalid mount config for type "volume"/,
  )
  assert.match(await refused('create', '-v', 'name:/d:wx', 'busybox'), /invalid mode: wx/)
  assert.match(await refused('create', '-v', 'name:relative', 'busybox'), /mount path must be absolute/)
  assert.match(
    await refused('create', '-v', 'one:/d', '--mount', 'type=volume,source=two,target=/d', 'busybox'),
    /Duplicate mount point: \/d/,
  )
  const driver = await daemon.api('POST', '/containers/create', {
    Image: 'busybox',
    HostConfig: { VolumeDriver: 'no', Binds: ['name:/d'] },
  })
  assert.equal(driver.status, 404)
  assert.match(driver.text, /create name: error looking up volume plugin no: plugin \\"no\\" not found/)
  assert.match(
    await refused('create', '-v', 'first:/a', '-v', '/b', '-v', '!bad:/c', 'busybox'),
    /create !bad: "!bad" includes invalid characters/,
  )
  assert.deepEqual(await list(), [])
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'volumes')), [])
})

test('prune takes anonymous volumes that nobody uses, all with the filter, and tells the space', async () => {
  await docker('volume', 'create', '--label', 'keep=yes', 'named')
  await docker('volume', 'create', 'other')
  await sh(['-v', 'named:/n'], 'dd if=/dev/zero of=/n/file bs=1000 count=3 2>/dev/null')
  await docker('create', '--name', 'user', '-v', '/used', 'busybox')
  const loose = await docker('volume', 'create')
  const used = (await list('dangling=false'))[0]
  const prune = (filters: object, version = '') =>
    daemon.json<{ VolumesDeleted: string[]; SpaceReclaimed: number }>(
      'POST',
      `${version}/volumes/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`,
    )
  assert.deepEqual(await prune({}), { VolumesDeleted: [loose], SpaceReclaimed: 0 })
  assert.deepEqual((await prune({ all: ['1'], 'label!': ['keep'] })).VolumesDeleted, ['other'])
  assert.deepEqual(await prune({ all: ['true'], label: ['keep=no'] }), {
    VolumesDeleted: [],
    SpaceReclaimed: 0,
  })
  assert.deepEqual(await prune({}, '/v1.41'), { VolumesDeleted: ['named'], SpaceReclaimed: 3000 })
  assert.deepEqual(await list(), [used])
  assert.match(await docker('volume', 'prune', '-f'), /Total reclaimed space: 0B/)
  await removeAll()
})

test('system df counts volumes and who uses them, and counts anew what may have been written to', async () => {
  await sh(['-v', 'sized:/d'], 'dd if=/dev/zero of=/d/file bs=1000 count=5 2>/dev/null')
  const usage = async (): Promise<object | undefined> => {
    const { Volumes } = await daemon.json<{ Volumes: { Name: string; UsageData: object }[] }>(
      'GET',
      '/system/df?type=volume',
    )
    return Volumes.find(({ Name }) => Name === 'sized')?.UsageData
  }
  assert.deepEqual(await usage(), { Size: 5000, RefCount: 0 })
  await docker('run', '-d', '--name', 'writer', '-v', 'sized:/d', 'busybox', 'sleep', '1000')
  await docker('exec', 'writer', 'sh', '-c', 'echo more >> /d/file')
  assert.deepEqual(await usage(), { Size: 5005, RefCount: 1 })
  await docker('exec', 'writer', 'sh', '-c', 'echo more >> /d/file')
  assert.deepEqual(await usage(), { Size: 5010, RefCount: 1 })
  await docker('rm', '-f', 'writer')
  assert.deepEqual(await usage(), { Size: 5010, RefCount: 0 })
  await docker('create', '--name', 'still', '-v', 'sized:/d', 'busybox')
  writeFileSync(path.join(daemon.base, 'hundred'), 'x'.repeat(100))
  await docker('cp', path.join(daemon.base, 'hundred'), 'still:/d/')
  assert.deepEqual(await usage(), { Size: 5110, RefCount: 1 })
  assert.match(await docker('system', 'df'), /Local Volumes +1 +1 +5\.11kB/)
  assert.match(await docker('system', 'df', '-v'), /sized +1 +5\.11kB/)
  assert.equal((await daemon.json<{ UsageData?: object }>('GET', '/volumes/sized')).UsageData, undefined)
  await audit(daemon)
  await removeAll()
})

test('events tell of a volume’s life', async () => {
  const since = (Date.now() / 1000).toFixed(3)
  await docker('volume', 'create', 'told')
  const id = await docker('run', '-d', '-v', 'told:/d:ro', 'busybox', 'true')
  await docker('wait', id)
  await docker('rm', '-f', id)
  await docker('volume', 'rm', 'told')
  await docker('volume', 'prune', '-f')
  const { text } = await daemon.api(
    'GET',
    `/events?since=${since}&until=${Date.now() / 1000}&filters={"type":["volume"]}`,
  )
  const seen = text
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as { Action: string; Actor: object })
    .map(({ Action, Actor }) => [Action, Actor])
  const actor = (attributes: object): object => ({ ID: 'told', Attributes: attributes })
  assert.deepEqual(seen, [
    ['create', actor({ driver: 'local' })],
    [
      'mount',
      actor({ driver: 'local', container: id, destination: '/d', 'read/write': 'false', propagation: '' }),
    ],
    ['unmount', actor({ driver: 'local', container: id })],
    ['destroy', actor({ driver: 'local' })],
    ['prune', { ID: '', Attributes: { reclaimed: '0' } }],
  ])
})

test('volumes outlive the daemon; folders without a record are taken in, records without a folder are empty', async () => {
  await sh(['-v', 'kept:/k'], 'echo kept > /k/file')
  await docker('volume', 'create', '--label', 'a=b', 'gone')
  await daemon.kill()
  const volumes = path.join(daemon.dataRoot, 'volumes')
  await must(['rm', '-r', path.join(volumes, 'gone')])
  await must(['cp', '-a', path.join(volumes, 'kept'), path.join(volumes, 'brought')])
  mkdirSync(path.join(volumes, '.new-half/_data'), { recursive: true })
  await daemon.start()
  assert.deepEqual(await list(), ['brought', 'gone', 'kept'])
  assert.equal(await sh(['-v', 'brought:/k', '-v', 'gone:/g'], 'cat /k/file; ls /g'), 'kept')
  assert.equal(await docker('volume', 'inspect', '-f', '{{.Labels.a}}', 'gone'), 'b')
  assert.equal(existsSync(path.join(volumes, '.new-half')), false)
  await audit(daemon)
  await removeAll()
})

test('a part of a volume is mounted, filled where it is empty, and links do not lead out of it', async () => {
  await sh(
    ['-v', 'parts:/v'],
    'mkdir -p /v/a/b /v/empty; echo in > /v/a/b/file; ln -s a/b /v/link; ln -s / /v/out',
  )
  const part = (subpath: string, more = ''): string[] => [
    ...['--mount', `type=volume,source=parts,target=/data,volume-subpath=${subpath}${more}`],
  ]
  assert.equal(await sh(part('a/b'), 'cat /data/file; touch /data/new'), 'in')
  assert.equal(
    await sh(part('link', ',readonly'), 'ls /data; touch /data/x 2>/dev/null || echo refused'),
    'file\nnew\nrefused',
  )
  assert.equal(await sh(part('a/b/file', ',readonly'), 'cat /data'), 'in')
  assert.equal(await sh(part('empty'), 'cat /data/seed; stat -c %a /data', 'seeded:1'), 'seed\n750')
  assert.equal(await sh(['-v', 'parts:/v'], 'ls /v; cat /v/empty/seed'), 'a\nempty\nlink\nout\nseed')
  assert.match(
    await refused('run', '--rm', ...part('nothing'), 'busybox'),
    /cannot access path \S+\/_data\/nothing: lstat \S+: no such file or directory/,
  )
  assert.match(
    await refused('run', '--rm', ...part('out/etc'), 'busybox'),
    /path concatenation escapes the base directory, base: \S+\/_data, subpath: out\/etc/,
  )
  assert.match(
    await refused('create', ...part('../x'), 'busybox'),
    /subpath must be a relative path within the volume/,
  )
  assert.match(
    await refused('create', '--mount', 'type=volume,target=/d,volume-subpath=a', 'busybox'),
    /must not set Subpath when using anonymous volumes/,
  )
  await docker('run', '-d', '--name', 'long', ...part('a'), 'busybox', 'sleep', '1000')
  await daemon.restart()
  assert.equal(await docker('exec', 'long', 'cat', '/data/b/file'), 'in')
  await docker('stop', '-t', '0', 'long')
  assert.deepEqual(readdirSync(path.join(daemon.execRoot, 'subpaths')), [])
  await docker('cp', 'long:/data/b/file', path.join(daemon.base, 'out'))
  await docker('start', 'long')
  assert.equal(await docker('exec', 'long', 'cat', '/data/b/file'), 'in')
  await removeAll()
  await audit(daemon)
})

test('a removal and a container that come at once never leave a container without its volume', async () => {
  for (let round = 0; round < 15; round++) {
    await docker('volume', 'create', 'wanted')
    const [removal] = await Promise.all([
      daemon.api('DELETE', '/volumes/wanted'),
      docker('create', '--name', 'user', '-v', 'wanted:/data', 'seeded:1', 'cat', '/data/seed'),
    ])
    assert.ok([204, 409].includes(removal.status), removal.text)
    assert.equal(await docker('start', '-a', 'user'), 'seed')
    await removeAll()
  }
  await audit(daemon)
})

test('records of the time when every volume was a container’s own are taken over', async () => {
  await docker('run', '--name', 'former', '-v', '/data', 'busybox', 'touch', '/data/file')
  const [name = ''] = await list()
  const id = await docker('inspect', '-f', '{{.Id}}', 'former')
  await daemon.kill()
  const stored = (): string => {
    using database = new DatabaseSync(path.join(daemon.dataRoot, 'berth.db'))
    const row = database.prepare("SELECT json FROM documents WHERE kind = 'volume' AND id = ?").get(name)
    return String(row?.['json'])
  }
  using database = new DatabaseSync(path.join(daemon.dataRoot, 'berth.db'))
  database
    .prepare("UPDATE documents SET json = ? WHERE kind = 'volume' AND id = ?")
    .run(JSON.stringify({ name, container: id }), name)
  database.close()
  await daemon.start()
  const created = await docker('inspect', '-f', '{{.Created}}', 'former')
  assert.equal(await docker('volume', 'inspect', '-f', '{{.CreatedAt}}', name), created.replace(/\.\d+/, ''))
  await daemon.kill('SIGTERM')
  assert.deepEqual(JSON.parse(stored()), {
    name,
    created,
    labels: { 'com.docker.volume.anonymous': '' },
    options: {},
  })
  await daemon.start()
  await docker('rm', '-v', 'former')
  assert.deepEqual(await list(), [])
})

test('who wants a volume that is being filled waits; a cancelled filling leaves nothing, and the next one fills', async () => {
  const folder = path.join(daemon.base, 'bin')
  mkdirSync(folder)
  const script = `#!/bin/sh\n[ -e ${folder}/hang ] && { touch ${folder}/called; exec sleep 1000; }\nexec /bin/cp "$@"\n`
  writeFileSync(path.join(folder, 'cp'), script, { mode: 0o755 })
  await daemon.restart({ env: { PATH: `${folder}:${process.env['PATH']}` } })
  await docker('volume', 'create', 'there')
  for (const volume of ['there', 'anew']) {
    writeFileSync(path.join(folder, 'hang'), '')
    const create = (name: string) =>
      daemon.docker(['create', '--name', name, '-v', `${volume}:/data`, 'seeded:1', 'cat', '/data/seed'])
    const operations = () => daemon.json<{ Id: string; Step: string }[]>('GET', '/berth/v1/operations')
    const at = (step: string): Promise<string> =>
      until(step, async () => (await operations()).find(({ Step }) => Step === step)?.Id)
    const first = create('first')
    const filling = await at('filling its volumes')
    await until('it is filled', () => existsSync(path.join(folder, 'called')))
    const second = create('second')
    await at('waiting for others that use its volumes')
    assert.equal(await sh(['-v', 'other:/o'], 'echo nobody else waits'), 'nobody else waits')
    rmSync(path.join(folder, 'hang'))
    await daemon.api('DELETE', `/berth/v1/operations/${filling}?by=the+test`)
    assert.match((await first).stderr, /was cancelled by the test/)
    assert.equal((await second).code, 0)
    assert.equal(await docker('start', '-a', 'second'), 'seed')
    assert.deepEqual(await list('name=^(there|anew)$'), volume === 'there' ? ['there'] : ['anew'])
    rmSync(path.join(folder, 'called'))
    await removeAll()
  }
  await daemon.restart()
  await audit(daemon)
})

test('a filling that fails while it is moved in is ended by whoever needs the volume next', async () => {
  const armed = path.join(daemon.base, 'failpoints')
  await daemon.restart({ env: { BERTH_FAILPOINTS: `@${armed}` } })
  const failHalfWay = async (name: string, pass: number): Promise<void> => {
    await docker('volume', 'create', name)
    await docker('create', '--name', 'waits', '-v', `${name}:/w`, 'busybox', 'ls', '/w')
    writeFileSync(armed, `volume.fill.moving=error@${pass}`)
    const words = await refused('create', '-v', `${name}:/data`, 'seeded:1')
    assert.match(words, /failed to populate volume: .* of the image: fail point volume\.fill\.moving/)
    rmSync(armed)
  }
  await failHalfWay('by-start', 1)
  assert.equal(await docker('start', '-a', 'waits'), 'seed\nsub')
  await removeAll()
  await failHalfWay('by-create', 2)
  await docker('create', '--name', 'fills', '-v', 'by-create:/data', 'seeded:1', 'ls', '/data')
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'volumes/by-create/_data')).sort(), ['seed', 'sub'])
  await removeAll()
  await daemon.restart()
})
