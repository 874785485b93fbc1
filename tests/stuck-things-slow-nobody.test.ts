import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { HangingMount } from './harness/hangingMount.ts'
import { dockerArchive, file } from './harness/images.ts'
import { must, type Outcome, run, until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/** A runtime that never comes back, or a mount, holds up its own container and nothing else, and can be given up. */
const folder = mkdtempSync('/tmp/berth-stuck-')
const runtime = path.join(folder, 'runtime')
const mount = new HangingMount(path.join(folder, 'remote'))
const shared = path.join(folder, 'shared')
let daemon: TestDaemon
before(async () => {
  writeFileSync(runtime, `#!/bin/sh\ntouch ${folder}/called\nsleep 1000\nexit 1\n`)
  chmodSync(runtime, 0o755)
  daemon = await startDaemon({ flags: ['--add-runtime', `stuck=${runtime}`] })
  await daemon.loadBusybox()
})
after(async () => {
  mount.end()
  await run(['umount', '-l', shared])
  await daemon.close()
  rmSync(folder, { recursive: true })
})

const startStuck = async (name: string) => {
  rmSync(path.join(folder, 'called'), { force: true })
  await daemon.mustDocker([
    'create',
    '--name',
    name,
    '--runtime',
    'stuck',
    '-p',
    '8080:80',
    'busybox',
    'true',
  ])
  const starting = daemon.docker(['start', name])
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  return starting.then(outcome => ({ outcome }))
}

const leftSleeping = async (): Promise<string> => (await run(['pgrep', '-f', `^/bin/sh ${runtime}`])).stdout

/** All that others do goes on while a start hangs. */
const othersGoOn = async (stuck: string, status = 'created'): Promise<void> => {
  assert.match(await daemon.mustDocker(['ps', '-a', '--format', '{{.Names}}']), new RegExp(stuck))
  assert.equal((await inspected(daemon, stuck))?.State.Status, status)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'busybox', 'echo', 'on']), 'on')
  await daemon.mustDocker(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
  assert.equal(await daemon.mustDocker(['exec', 'other', 'echo', 'on']), 'on')
  await daemon.mustDocker(['stop', '-t', '0', 'other'])
  await daemon.mustDocker(['rm', 'other'])
}

test('images come in while an upload stalls, and what it kept from being removed goes with it', async () => {
  const blobs = path.join(daemon.dataRoot, 'blobs/sha256')
  const before = readdirSync(blobs).length
  const stalled = connect(daemon.socket)
  stalled.on('error', () => {})
  stalled.write('POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\nbegun')
  const isListed = async (): Promise<boolean> =>
    (await daemon.json<{ Verb: string }[]>('GET', '/berth/v1/operations')).some(({ Verb }) => Verb === 'load')
  await until('it is under way', isListed)
  const archive = await dockerArchive([{ tags: ['beside:1'], layers: [[file('a', 'b')]] }])
  // Its end is missing, and nothing of it is an image.
  const broken = archive.subarray(0, archive.length - 2048)
  const load = (bytes: Buffer): Promise<Outcome> =>
    daemon.docker(['load', '-q'], { input: bytes, deadline: 20_000 })
  assert.equal((await load(broken)).code, 1)
  assert.equal((await load(archive)).code, 0)
  assert.equal((await daemon.docker(['import', '-', 'tree:1'], { input: archive })).code, 0)
  assert.ok(await isListed())
  stalled.destroy()
  await until('it is given up', async () => !(await isListed()))
  await daemon.mustDocker(['rmi', 'beside:1', 'tree:1'])
  assert.equal(readdirSync(blobs).length, before)
})

test('others go on while a runtime hangs, and rm -f gives the start up', async () => {
  const ending = startStuck('stuck1')
  await until('it is under way', async () => (await inspected(daemon, 'stuck1')) !== undefined)
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  await othersGoOn('stuck1')
  await daemon.mustDocker(['rm', '-f', 'stuck1'])
  const { outcome } = await ending
  assert.equal(outcome.code, 1)
  assert.match(outcome.stderr, /start of container stuck1 was cancelled by its removal/)
  assert.equal(await leftSleeping(), '')
  await audit(daemon)
})

test('kill gives the start up and leaves the container as it was', async () => {
  const ending = startStuck('stuck2')
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  await until('it can be killed', async () => (await daemon.docker(['kill', 'stuck2'])).code === 0)
  const { outcome } = await ending
  assert.equal(outcome.code, 1)
  assert.match(outcome.stderr, /start of container stuck2 was cancelled by a kill/)
  assert.equal((await inspected(daemon, 'stuck2'))?.State.Status, 'created')
  await daemon.mustDocker(['rm', 'stuck2'])
  assert.equal(await leftSleeping(), '')
  await audit(daemon)
})

test('a daemon that starts while a runtime hangs is not held up by it', async () => {
  const ending = startStuck('stuck3')
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  await daemon.kill()
  await daemon.start()
  await ending
  await othersGoOn('stuck3')
  await daemon.mustDocker(['rm', '-f', 'stuck3'])
  assert.equal(await inspected(daemon, 'stuck3'), undefined)
  assert.equal(await leftSleeping(), '')
  await audit(daemon)
})

interface Operation {
  Id: string
  Verb: string
  Subject: { Name: string }
  Step: string
}

const operations = (): Promise<Operation[]> => daemon.json('GET', '/berth/v1/operations')

/** An operation that has come to the mount, and waits there. */
const waiting = (verb: string, name: string): Promise<Operation> =>
  until(`${verb} of ${name} waits for the mount`, async () =>
    (await operations()).find(
      ({ Verb, Subject, Step }) =>
        Verb === verb && Subject.Name === name && /^waiting for the file system at .* \(fuse\)$/.test(Step),
    ),
  )

const looking = async (): Promise<string> => (await run(['pgrep', '-f', `reach ${folder}`])).stdout

/** A process has asked the mount, and sleeps until there is an answer. */
const asleepOnMount = async (): Promise<boolean> => {
  const [pid = ''] = (await looking()).split('\n')
  return pid !== '' && /fuse|request_wait/.test((await run(['ps', '-o', 'wchan:30=', '-p', pid])).stdout)
}

const startOnMount = async (
  name: string,
): Promise<{ outcome: Promise<{ code: number; stderr: string }> }> => {
  await daemon.mustDocker(['create', '--name', name, '-v', `${mount.path}/data:/data`, 'busybox', 'true'])
  const outcome = daemon.docker(['start', name])
  await waiting('start', name)
  return { outcome }
}

test('five starts on a mount that hangs slow nobody, and each can be given up', async () => {
  mount.begin()
  const starts: Awaited<ReturnType<typeof startOnMount>>[] = []
  for (const name of ['far1', 'far2', 'far3', 'far4', 'far5']) starts.push(await startOnMount(name))
  await othersGoOn('far1')
  await daemon.mustDocker(['run', '--name', 'talks', 'busybox', 'echo', 'said'])
  assert.equal(await daemon.mustDocker(['logs', 'talks']), 'said')
  await daemon.mustDocker(['rm', 'talks'])
  await daemon.mustDocker(['kill', 'far1'])
  await daemon.mustDocker(['stop', 'far2'])
  await daemon.mustDocker(['rm', '-f', 'far3'])
  const { Id } = await waiting('start', 'far4')
  assert.equal((await daemon.api('DELETE', `/berth/v1/operations/${Id}?by=somebody`)).status, 202)
  const why = ['a kill', 'a stop', 'its removal', 'somebody']
  for (const [index, by] of why.entries()) {
    const { code, stderr } = await (starts[index]?.outcome ?? assert.fail())
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`start of container far${index + 1} was cancelled by ${by}`))
  }
  await daemon.kill()
  assert.equal((await starts[4]?.outcome)?.code, 1)
  await until('nobody looks at it any more', async () => (await looking()) === '')
  await daemon.start()
  await othersGoOn('far5')
  const again = daemon.docker(['start', 'far5'])
  await waiting('start', 'far5')
  await until('it asked the mount', asleepOnMount)
  mount.end()
  assert.match(
    (await again).stderr,
    /cannot use the bind source .*: (ENOTCONN|ECONNABORTED) from the file system/,
  )
  await daemon.mustDocker(['start', '-a', 'far5'])
  assert.equal(await looking(), '')
  await daemon.mustDocker(['rm', 'far1', 'far2', 'far4', 'far5'])
  await audit(daemon)
})

test('a restart policy that waits for a mount does not hold up a daemon that starts', async () => {
  mkdirSync(`${mount.path}/data`, { recursive: true })
  const script = 'while ! test -e /dev/shm/go; do sleep 0.1; done'
  await daemon.mustDocker(
    ['run', '-d', '--name', 'again', '--restart', 'always', '-v', `${mount.path}/data:/data`].concat(
      'busybox',
      ...['sh', '-c', script],
    ),
  )
  mount.begin()
  await daemon.mustDocker(['exec', 'again', 'touch', '/dev/shm/go'])
  await waiting('start', 'again')
  await daemon.kill()
  await daemon.start()
  await waiting('start', 'again')
  await othersGoOn('again', 'restarting')
  await daemon.mustDocker(['rm', '-f', 'again'])
  mount.end()
  await audit(daemon)
})

test('a copy out of a container that has such a mount waits alone', async () => {
  mkdirSync(`${shared}/remote`, { recursive: true })
  await must(['mount', '--bind', shared, shared])
  await must(['mount', '--make-shared', shared])
  const below = new HangingMount(`${shared}/remote`)
  await daemon.mustDocker(
    ['run', '-d', '--name', 'runs', '--runtime', 'runc', '-v', `${shared}:/data:rslave`, 'busybox'].concat(
      'sleep',
      '1000',
    ),
  )
  below.begin()
  const source = `${shared}/remote/data`
  await daemon.mustDocker(['create', '--name', 'rests', '-v', `${source}:/data`, 'busybox', 'true'])
  for (const name of ['runs', 'rests']) {
    const copying = daemon.docker(['cp', `${name}:/etc/passwd`, '-'])
    const { Id } = await waiting('cp', name)
    await othersGoOn('rests')
    assert.equal((await daemon.api('DELETE', `/berth/v1/operations/${Id}?by=somebody`)).status, 202)
    assert.match((await copying).stderr, new RegExp(`cp of container ${name} was cancelled by somebody`))
  }
  await daemon.mustDocker(['rm', '-f', 'runs', 'rests'])
  below.end()
  await audit(daemon)
})
