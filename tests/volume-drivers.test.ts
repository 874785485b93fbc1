import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { HangingMount } from './harness/hangingMount.ts'
import { busyboxLayer, directory, dockerArchive, file } from './harness/images.ts'
import { must, until } from './harness/shell.ts'

/** Volumes of the driver `local` with options: mounted while a running container uses them. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  const layers = [
    busyboxLayer(),
    [directory('data', 0o750), file('data/seed', 'seed\n'), directory('data/sub')],
  ]
  await daemon.mustDocker(['load', '-q'], { input: await dockerArchive([{ tags: ['seeded:1'], layers }]) })
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const refused = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0, args.join(' '))
  return stderr
}
const make = (name: string, options: Record<string, string>): Promise<string> =>
  docker(
    'volume',
    'create',
    ...Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]),
    name,
  )
const data = (name: string): string => path.join(daemon.dataRoot, 'volumes', name, '_data')
/** The file system's type at a volume's place, '' where nothing is mounted. */
const mounted = (name: string): string =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.split(' ')[4] === data(name))
    .map(line => line.split(' - ')[1]?.split(' ')[0] ?? '')
    .join(' ')
const folder = (name: string): string => {
  const made = path.join(daemon.base, name)
  mkdirSync(made, { recursive: true })
  return made
}

test('a bind of a folder is mounted for the first running container and unmounted after the last', async () => {
  const bound = folder('bound')
  writeFileSync(path.join(bound, 'file'), 'bound\n')
  await make('bound', { type: 'none', o: 'bind', device: bound })
  assert.deepEqual(JSON.parse(await docker('volume', 'inspect', '-f', '{{json .Options}}', 'bound')), {
    type: 'none',
    o: 'bind',
    device: bound,
  })
  assert.equal(mounted('bound'), '')
  for (const name of ['one', 'two'])
    await docker('run', '-d', '--name', name, '-v', 'bound:/b', 'busybox', 'sleep', '1000')
  assert.equal(mounted('bound').split(' ').length, 1, 'once for both')
  assert.equal(await docker('exec', 'two', 'cat', '/b/file'), 'bound')
  await audit(daemon, 'both run')
  await docker('stop', '-t', '0', 'one')
  assert.notEqual(mounted('bound'), '')
  await docker('exec', 'two', 'sh', '-c', 'echo more > /b/more')
  await docker('rm', '-f', 'two')
  assert.equal(mounted('bound'), '')
  assert.equal(readFileSync(path.join(bound, 'more'), 'utf8'), 'more\n')
  await docker('cp', 'one:/b/file', path.join(daemon.base, 'out'))
  assert.equal(readFileSync(path.join(daemon.base, 'out'), 'utf8'), 'bound\n', 'mounted for a copy')
  await docker('cp', path.join(daemon.base, 'out'), 'one:/b/in')
  assert.equal(mounted('bound'), '')
  assert.deepEqual(readdirSync(bound).sort(), ['file', 'in', 'more'])
  await docker('rm', 'one')
  await docker('volume', 'rm', 'bound')
  assert.deepEqual(readdirSync(bound).sort(), ['file', 'in', 'more'], 'the folder is not the volume’s')
  await audit(daemon, 'removed')
})

test('an empty folder behind a volume is filled from the image, a tmpfs is empty at each start', async () => {
  const bound = folder('filled')
  await make('filled', { type: 'none', o: 'bind', device: bound })
  await make('memory', { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=1000,nodev' })
  await docker('create', '--name', 'filler', '-v', 'filled:/data', 'seeded:1')
  assert.deepEqual(readdirSync(bound).sort(), ['seed', 'sub'])
  assert.equal(mounted('filled'), '')
  const run = ['run', '--rm', '-v', 'memory:/data', 'seeded:1', 'sh', '-c']
  const look =
    'ls /data; stat -c %u /data; grep -c " /data tmpfs .*nodev.*size=1024k" /proc/mounts; touch /data/x'
  assert.equal(await docker(...run, look), '1000\n1')
  assert.equal(await docker(...run, look), '1000\n1')
  await docker('rm', 'filler')
  await docker('volume', 'rm', 'filled', 'memory')
})

test('flags of a volume’s mount hold in the container, whatever runtime binds it', async () => {
  const bound = folder('locked')
  await make('locked', { type: 'none', o: 'bind,ro,nosuid', device: bound })
  for (const runtime of ['crun', 'runc']) {
    const run = ['run', '--rm', '--runtime', runtime, '-v', 'locked:/l', 'busybox', 'sh', '-c']
    const script = 'touch /l/x 2>/dev/null || echo refused; grep -c " /l .* ro,nosuid" /proc/mounts'
    assert.equal(await docker(...run, script), 'refused\n1', runtime)
    assert.equal(mounted('locked'), '')
  }
  await docker('volume', 'rm', 'locked')
})

test('a file system on a device is mounted by its type', async t => {
  const image = path.join(daemon.base, 'disk')
  writeFileSync(image, '')
  truncateSync(image, 8 << 20)
  try {
    await must(['mkfs.ext4', '-q', image])
  } catch {
    t.skip('this machine cannot make an ext4 file system')
    return
  }
  const device = await must(['losetup', '-f', '--show', image]).catch(() => '')
  if (device === '') {
    t.skip('this machine has no loop devices')
    return
  }
  try {
    await make('disk', { type: 'ext4', device: device.trim(), o: 'noatime' })
    const run = ['run', '--rm', '-v', 'disk:/d', 'busybox', 'sh', '-c']
    assert.match(await docker(...run, 'echo on disk > /d/file; grep " /d " /proc/mounts'), / ext4 rw,noatime/)
    assert.equal(await docker(...run, 'cat /d/file'), 'on disk')
    assert.equal(existsSync(path.join(data('disk'), 'file')), false)
    await docker('volume', 'rm', 'disk')
  } finally {
    await must(['losetup', '-d', device.trim()])
  }
})

test('wrong options are refused when the volume is made', async () => {
  const words = async (DriverOpts: object): Promise<string> => {
    const { status, text } = await daemon.api('POST', '/volumes/create', { Name: 'wrong', DriverOpts })
    assert.equal(status, 400, text)
    return (JSON.parse(text) as { message: string }).message
  }
  assert.equal(await words({ o: 'bind', type: 'none' }), 'create wrong: missing required option: "device"')
  assert.equal(await words({ speed: '1' }), 'create wrong: invalid option: "speed"')
  assert.equal(await words({ size: '1g' }), 'create wrong: quota size requested but no quota support')
  assert.match(await refused('volume', 'inspect', 'wrong'), /no such volume/)
})

test('what cannot be mounted is told with the kernel’s words, the options without passwords, and what to do', async () => {
  const start = async (options: Record<string, string>): Promise<string> => {
    await make('broken', options)
    const stderr = await refused('run', '--name', 'victim', '-v', 'broken:/b', 'busybox', 'true')
    assert.equal(mounted('broken'), '')
    await docker('rm', 'victim')
    await docker('volume', 'rm', 'broken')
    return stderr
  }
  assert.match(
    await start({ type: 'none', o: 'bind', device: '/no/such/place' }),
    /error while mounting volume '\S+\/broken\/_data': failed to mount local volume: mount \/no\/such\/place:\S+\/_data, flags: 0x1000: no such file or directory; what the option device names is not there/,
  )
  assert.match(
    await start({ type: 'nosuchfs', device: 'x' }),
    /mount x:\S+: no such device; the kernel of this host does not know the file system of the option type/,
  )
  assert.match(
    await start({ type: 'tmpfs', device: 'tmpfs', o: 'nonsense=1' }),
    /data: nonsense=1: invalid argument; the file system does not take these options/,
  )
  const secret = await start({
    type: 'cifs',
    device: '//127.0.0.1/share',
    o: 'username=u,password=sesame,vers=3.0',
  })
  assert.match(
    secret,
    /failed to mount local volume: mount \/\/127\.0\.0\.1\/share:\S+, data: username=u,password=\*{8},vers=3\.0: /,
  )
  assert.doesNotMatch(secret, /sesame/)
  assert.match(
    await start({ type: 'nfs', device: ':/export', o: 'addr=127.0.0.1,nolock,soft,timeo=1,retrans=1' }),
    /failed to mount local volume: mount :\/export:\S+, data: addr=127\.0\.0\.1,\S+: /,
  )
  assert.match(
    await start({ type: 'nfs', device: ':/export', o: 'addr=no-such-host.invalid' }),
    /error resolving passed in network volume address: lookup no-such-host\.invalid: /,
  )
  assert.doesNotMatch(daemon.log, /sesame/)
  await audit(daemon)
})

test('a mount is kept over the daemon’s death while its container runs, and goes where that has ended', async () => {
  const bound = folder('over')
  await make('over', { type: 'none', o: 'bind', device: bound })
  await docker('run', '-d', '--name', 'stays', '-v', 'over:/o', 'busybox', 'sleep', '1000')
  await make('ends', { type: 'tmpfs', device: 'tmpfs' })
  await docker(
    'run',
    '-d',
    '--name',
    'ends',
    '-v',
    'ends:/e',
    'busybox',
    'sh',
    '-c',
    'while ! test -e /e/go; do sleep 0.05; done',
  )
  await daemon.kill()
  writeFileSync(path.join(data('ends'), 'go'), '')
  await daemon.start()
  assert.notEqual(mounted('over'), '')
  await docker('wait', 'ends')
  await until('the mount has gone', () => mounted('ends') === '')
  await docker('exec', 'stays', 'touch', '/o/file')
  assert.deepEqual(readdirSync(bound), ['file'])
  await docker('rm', '-f', 'stays', 'ends')
  assert.equal(mounted('over'), '')
  await docker('volume', 'rm', 'over', 'ends')
  await audit(daemon)
})

test('a mount that hangs holds up nobody else, can be cancelled, and ends in a clear error', async () => {
  const hang = new HangingMount(path.join(daemon.base, 'hangs'))
  await make('stuck', { type: 'none', o: 'bind', device: path.join(hang.path, 'below') })
  await docker('create', '--name', 'waiter', '-v', 'stuck:/s', 'busybox', 'true')
  hang.begin()
  try {
    const start = daemon.docker(['start', 'waiter'])
    const operations = () => daemon.json<{ Id: string; Step: string }[]>('GET', '/berth/v1/operations')
    await until('it is being mounted', async () =>
      (await operations()).some(({ Step }) => Step === 'mounting the volume stuck'),
    )
    assert.equal(
      await docker('run', '--rm', '-v', 'free:/f', 'busybox', 'echo', 'others go on'),
      'others go on',
    )
    assert.match(await docker('volume', 'ls'), /stuck/)
    const [operation] = (await operations()).filter(({ Step }) => Step === 'mounting the volume stuck')
    await daemon.api('DELETE', `/berth/v1/operations/${operation?.Id}`)
    assert.match((await start).stderr, /start of container waiter was cancelled/)
    const again = daemon.docker(['start', 'waiter'])
    await until('it is being mounted again', async () =>
      (await operations()).some(({ Step }) => Step === 'mounting the volume stuck'),
    )
    hang.end()
    assert.match((await again).stderr, /failed to mount local volume: mount \S+\/below:\S+, flags: 0x1000: /)
  } finally {
    hang.end()
  }
  await docker('rm', 'waiter')
  await docker('volume', 'rm', 'stuck', 'free')
  await audit(daemon)
})

test('a mount brings its volume with options and labels; it goes again where the container cannot be made', async () => {
  const mount =
    'type=volume,source=asked,target=/d,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-label=a=b'
  await docker('run', '--rm', '--mount', mount, 'busybox', 'grep', ' /d tmpfs ', '/proc/mounts')
  const shown = await docker('volume', 'inspect', '-f', '{{json .Options}} {{json .Labels}}', 'asked')
  assert.equal(shown, '{"device":"tmpfs","type":"tmpfs"} {"a":"b"}')
  await docker('volume', 'rm', 'asked')
  const missing =
    'type=volume,source=asked,target=/data,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/no/such'
  assert.match(
    await refused('create', '--mount', missing, 'seeded:1'),
    /failed to populate volume: .*mount \/no\/such:\S+, flags: 0x1000: no such file or directory/,
  )
  assert.equal(await docker('volume', 'ls', '-q'), '')
})
