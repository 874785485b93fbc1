import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { PluginServer } from './harness/pluginServer.ts'
import { until } from './harness/shell.ts'
import { VolumePlugin } from './harness/volumePlugin.ts'

/** Volumes that plugins keep. */

let daemon: TestDaemon
let store: VolumePlugin
let other: VolumePlugin

before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  store = await VolumePlugin.start(daemon.plugins, 'store')
  other = await VolumePlugin.start(daemon.plugins, 'other', { scope: 'global' })
})
after(async () => {
  await store[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const refused = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0, args.join(' '))
  return stderr
}
const idOf = (name: string): Promise<string> => docker('inspect', '-f', '{{.Id}}', name)
const names = async (...filters: string[]): Promise<string[]> =>
  (await docker('volume', 'ls', '-q', ...filters.flatMap(filter => ['-f', filter])))
    .split('\n')
    .filter(Boolean)
    .sort()

test('a volume is made by its plugin, told of as the plugin tells, and removed by it', async () => {
  await docker('volume', 'create', '-d', 'store', '-o', 'size=3', '--label', 'a=b', 'made')
  assert.deepEqual(store.volumes.get('made'), { options: { size: '3' } })
  assert.deepEqual(JSON.parse(await docker('volume', 'inspect', 'made')), [
    {
      ...{ Name: 'made', Driver: 'store', Mountpoint: '', Scope: 'local', CreatedAt: '2020-01-02T03:04:05Z' },
      ...{ Labels: { a: 'b' }, Options: { size: '3' }, Status: { health: 'good' } },
    },
  ])
  assert.equal(await docker('volume', 'ls', '--format', '{{.Driver}} {{.Name}}'), 'store made')
  assert.deepEqual(await names('driver=local'), [])
  assert.deepEqual(await names('driver=store', 'label=a'), ['made'])
  const info = JSON.parse(await docker('info', '-f', '{{json .Plugins.Volume}}'))
  assert.ok(info.includes('store') && info.includes('local'))
  await docker('volume', 'create', '-d', 'store', 'made')
  assert.equal(store.server.asked('VolumeDriver.Create').length, 1)
  await daemon.restart()
  assert.deepEqual(await names('label=a'), ['made'])
  await docker('volume', 'rm', 'made')
  assert.equal(store.volumes.size, 0)
  assert.deepEqual(await names(), [])
})

test('containers mount it by their ids, and all writes go where the plugin says', async () => {
  const run = ['run', '-d', '--volume-driver', 'store']
  await docker(
    ...run,
    '--name',
    'one',
    '-v',
    'shared:/v',
    'busybox',
    'sh',
    '-c',
    'echo 1 >/v/file; sleep 1000',
  )
  await docker(
    ...['run', '-d', '--name', 'two'],
    ...['--mount', 'type=volume,source=shared,volume-driver=store,target=/v', '-v', 'shared:/again'],
    ...['busybox', 'sleep', '1000'],
  )
  assert.deepEqual(store.mounted, [`shared ${await idOf('one')}`, `shared ${await idOf('two')}`])
  await until('it was written', () => readdirSync(store.path('shared')).includes('file'))
  assert.equal(await docker('exec', 'two', 'cat', '/v/file', '/again/file'), '1\n1')
  assert.equal(
    await docker('inspect', '-f', '{{range .Mounts}}{{.Name}} {{.Driver}} {{.Source}} {{end}}', 'one'),
    `shared store ${store.path('shared')} `,
  )
  assert.match(await refused('volume', 'rm', 'shared'), /remove shared: volume is in use - \[/)
  await docker('stop', '-t', '0', 'one')
  assert.deepEqual(store.mounted, [`shared ${await idOf('two')}`])
  await docker('cp', 'one:/v/file', path.join(daemon.base, 'copied'))
  assert.equal(readFileSync(path.join(daemon.base, 'copied'), 'utf8'), '1\n')
  assert.deepEqual(store.mounted, [`shared ${await idOf('two')}`])
  await docker('start', 'one')
  await docker('rm', '-f', 'one', 'two')
  assert.deepEqual(store.mounted, [])
  await docker('volume', 'rm', 'shared')
})

test('an empty one is filled from the image, and an anonymous one goes with its container', async () => {
  await docker('create', '--name', 'filled', '--volume-driver', 'store', '-v', '/etc', 'busybox', 'true')
  const [name = ''] = store.volumes.keys()
  assert.match(name, /^[0-9a-f]{64}$/)
  assert.ok(readdirSync(store.path(name)).includes('passwd'))
  assert.deepEqual(
    readdirSync(store.path(name)).filter(entry => entry.startsWith('.')),
    [],
  )
  assert.deepEqual(store.mounted, [])
  await docker('rm', '-v', 'filled')
  await until('its plugin has removed it', () => store.volumes.size === 0)
  await until('it is forgotten', async () => (await names()).length === 0)
})

test('df, prune and the filter dangling know whose volumes are whose', async () => {
  await docker('volume', 'create', '-d', 'store', 'kept')
  await docker('volume', 'create', 'mine')
  const { Volumes } = await daemon.json<{ Volumes: { Name: string }[] }>('GET', '/system/df')
  assert.deepEqual(
    Volumes.map(({ Name }) => Name),
    ['mine'],
  )
  assert.deepEqual(await names('dangling=true'), ['kept', 'mine'])
  await docker('volume', 'prune', '-af')
  assert.deepEqual(await names(), ['kept'])
  await docker('volume', 'rm', 'kept')
})

test('volumes that a plugin has by itself are listed, used and removed', async () => {
  other.create('theirs', {})
  assert.equal(
    await docker('volume', 'ls', '--format', '{{.Driver}} {{.Name}} {{.Scope}}'),
    'other theirs global',
  )
  assert.equal(await docker('volume', 'inspect', '-f', '{{.Status.health}}', 'theirs'), 'good')
  writeFileSync(path.join(other.path('theirs'), 'seed'), 'by itself')
  assert.equal(await docker('run', '--rm', '-v', 'theirs:/v', 'busybox', 'cat', '/v/seed'), 'by itself')
  assert.equal(other.server.asked('VolumeDriver.Create').length, 0)
  await docker('volume', 'rm', 'theirs')
  assert.equal(other.volumes.size, 0)
})

test('a name is one volume, whoever keeps it', async () => {
  await docker('volume', 'create', '-d', 'store', 'name')
  await docker('volume', 'create', 'plain')
  const taken = (driver: string, name: string): RegExp =>
    new RegExp(`create ${name}: driver '${driver}' already has volume '${name}': volume name must be unique`)
  assert.match(await refused('volume', 'create', '-d', 'local', 'name'), taken('store', 'name'))
  assert.match(await refused('volume', 'create', '-d', 'other', 'name'), taken('store', 'name'))
  assert.match(await refused('volume', 'create', '-d', 'store', 'plain'), taken('local', 'plain'))
  assert.match(
    await refused('run', '--volume-driver', 'other', '-v', 'name:/v', 'busybox'),
    taken('store', 'name'),
  )
  other.create('name', {})
  assert.equal(await docker('volume', 'ls', '--format', '{{.Driver}}', '-f', 'name=^name$'), 'store')
  other.volumes.clear()
  await docker('volume', 'rm', 'name', 'plain')
})

test('drivers that are not there, or are none, are refused in the words of Docker', async () => {
  const { text, status } = await daemon.api('POST', '/volumes/create', { Name: 'x', Driver: 'absent' })
  assert.deepEqual(
    [status, JSON.parse(text).message],
    [404, 'create x: error looking up volume plugin absent: plugin "absent" not found'],
  )
  await using _judge = await PluginServer.start({ folder: daemon.plugins, name: 'judge' }, ['authz'], {})
  assert.match(
    await refused('volume', 'create', '-d', 'judge', 'x'),
    /create x: error looking up volume plugin judge: legacy plugin: Plugin does not implement the requested driver/,
  )
  store.refusals.set('Create', 'the disk is full')
  assert.match(
    await refused('volume', 'create', '-d', 'store', 'x'),
    /create x: VolumeDriver\.Create: the disk is full/,
  )
  assert.match(
    await refused('create', '--name', 'none', '--volume-driver', 'store', '-v', 'x:/v', 'busybox'),
    /the disk is full/,
  )
  store.refusals.clear()
  assert.deepEqual([await names(), await docker('ps', '-aq')], [[], ''])
  await docker('volume', 'create', '-d', 'store', 'x')
  store.refusals.set('Mount', 'it is broken')
  assert.match(
    await refused('run', '--name', 'none', '-v', 'x:/v:nocopy', 'busybox'),
    /error while mounting volume 'x': VolumeDriver\.Mount: it is broken/,
  )
  store.refusals.set('Remove', 'never')
  await docker('rm', 'none')
  assert.match(await refused('volume', 'rm', 'x'), /remove x: VolumeDriver\.Remove: never/)
  assert.deepEqual(await names(), ['x'])
  store.refusals.clear()
  await docker('volume', 'rm', 'x')
})

test('one that its plugin has lost can be made again, or forgotten', async () => {
  await docker('volume', 'create', '-d', 'store', 'lost')
  await docker('create', '--name', 'user', '-v', 'lost:/v:nocopy', 'busybox', 'true')
  store.volumes.clear()
  assert.deepEqual(await names(), [])
  assert.match(await refused('volume', 'inspect', 'lost'), /get lost: no such volume/)
  assert.match(
    await refused('volume', 'create', '-d', 'store', 'lost'),
    /found references to volume 'lost' in driver 'store'/,
  )
  await docker('volume', 'rm', '-f', 'lost')
  await docker('volume', 'create', '-d', 'store', 'lost')
  await docker('start', '-a', 'user')
  await docker('rm', 'user')
  await docker('volume', 'rm', 'lost')
})

test('a dead plugin stops no list, no stop and no removal of a container; its uses end when it is back', async () => {
  await docker('volume', 'create', '-d', 'store', 'far')
  await docker('run', '-d', '--name', 'far', '-v', 'far:/v', 'busybox', 'sleep', '1000')
  const id = await idOf('far')
  await store.server.die()
  const { Volumes, Warnings } = await daemon.json<{ Volumes: { Name: string }[]; Warnings: string[] }>(
    'GET',
    '/volumes',
  )
  assert.deepEqual([Volumes.map(({ Name }) => Name), Warnings.length], [['far'], 1])
  assert.match(Warnings[0] ?? '', /^list store: Post ".*VolumeDriver\.List": connect ECONNREFUSED/)
  assert.match(
    await refused('volume', 'inspect', 'far'),
    /get far: error while checking if volume "far" exists in driver "store": /,
  )
  await docker('rm', '-f', 'far')
  assert.match(await refused('volume', 'rm', 'far'), /get far: error while checking if volume "far" exists/)
  assert.match(
    await refused('volume', 'rm', '-f', 'far'),
    /get far: error while checking if volume "far" exists/,
  )
  assert.deepEqual(store.mounted, [`far ${id}`])
  await store.server.revive()
  await daemon.restart()
  await until('its use has ended', () => store.mounted.length === 0)
  await docker('volume', 'rm', 'far')
})

test('a hanging plugin stops no removal of a container', async () => {
  await docker('volume', 'create', '-d', 'store', 'stuck')
  await docker('run', '-d', '--name', 'stuck', '-v', 'stuck:/v', 'busybox', 'sleep', '1000')
  store.server.hangsAt.add('VolumeDriver.Unmount')
  await docker('rm', '-f', 'stuck')
  store.server.hangsAt.clear()
  await daemon.restart()
  await until('its use has ended', () => store.mounted.length === 0)
  await docker('volume', 'rm', 'stuck')
})

test("the daemon's death harms no use, and what ended meanwhile is unmounted by its id", async () => {
  await docker('volume', 'create', '-d', 'store', 'long')
  for (const [name, seconds] of [
    ['lives', '1000'],
    ['ends', '1'],
  ] as const)
    await docker('run', '-d', '--name', name, '-v', 'long:/v', 'busybox', 'sleep', seconds)
  await daemon.kill()
  await new Promise(resolve => setTimeout(resolve, 1500))
  await daemon.start()
  const lives = await idOf('lives')
  await until('the other was unmounted', () => store.mounted.length === 1)
  assert.deepEqual(store.mounted, [`long ${lives}`])
  await docker('exec', 'lives', 'touch', '/v/after')
  assert.ok(readdirSync(store.path('long')).includes('after'))
  await docker('rm', '-f', 'lives', 'ends')
  assert.deepEqual(store.mounted, [])
  await docker('volume', 'rm', 'long')
})
