import assert from 'node:assert/strict'
import { existsSync, readdirSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { dockerArchive, file } from './harness/images.ts'
import { LoopFilesystem } from './harness/powerCut.ts'
import { must, run, until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/** What runs out is said to the one who asked, harms nobody else, and is forgotten when there is enough again. */
const daemon = new TestDaemon({})
const disk = new LoopFilesystem(path.join(daemon.base, 'disk'), daemon.dataRoot)
before(async () => {
  await daemon.prepare()
  await disk.make(96)
  await disk.mount()
  await daemon.start()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const filler = path.join(daemon.dataRoot, 'filler')
const ballast = path.join(daemon.dataRoot, 'ballast')

const fill = async (): Promise<void> => {
  await run(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=64k', 'oflag=append', 'conv=notrunc'])
  await run(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=512', 'oflag=append', 'conv=notrunc'])
  await must(['sync', '-f', daemon.dataRoot])
}

const spaceless = /no space left on device.*; free some space and try again: docker system df shows/i

test('a full disk is said to whoever needs space, and harms no one else', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker(
    ['run', '-d', '--name', 'ends', 'busybox', 'sh', '-c'].concat(
      'echo said; while ! test -e /dev/shm/go; do sleep 0.1; done; exit 7',
    ),
  )
  const archive = path.join(daemon.base, 'big.tar')
  const layers = [[file('big', Buffer.alloc(8 << 20, 'x'))]]
  writeFileSync(archive, await dockerArchive([{ tags: ['big:1'], layers }]))
  await fill()
  const load = await daemon.docker(['load', '-q', '-i', archive])
  assert.equal(load.code, 1)
  assert.match(load.stderr, spaceless)
  const create = await daemon.docker(['create', '--name', 'late', 'busybox', 'true'])
  assert.equal(create.code, 1, create.stdout)
  assert.match(create.stderr, spaceless)
  const late = await daemon.docker(['run', '--rm', '--name', 'late', 'busybox', 'true'])
  assert.equal(late.code, 125)
  assert.match(late.stderr, spaceless)
  assert.equal((await inspected(daemon, 'other'))?.State.Status, 'running')
  assert.equal(await daemon.mustDocker(['exec', 'other', 'echo', 'alive']), 'alive')
  await daemon.mustDocker(['exec', 'ends', 'touch', '/dev/shm/go'])
  await until('it ended', async () => (await inspected(daemon, 'ends'))?.State.Status === 'exited')
  assert.equal((await inspected(daemon, 'ends'))?.State.ExitCode, 7)
})

interface Info {
  Warnings: string[]
}

const isFull = async (): Promise<boolean> =>
  (await daemon.json<Info>('GET', '/info')).Warnings.some(text =>
    /data root .* is full .*: free some space/.test(text),
  )

test('a daemon starts on a full disk, finds the end that it could not record, and lets space be freed', async () => {
  for (const why of ['with its ballast', 'without any']) {
    await daemon.kill()
    await fill()
    await daemon.start()
    assert.equal(existsSync(ballast), false, why)
    assert.equal(await isFull(), true, why)
    assert.match(await daemon.mustDocker(['ps', '-a', '--format', '{{.Names}} {{.State}}']), /ends exited/)
    assert.equal((await inspected(daemon, 'ends'))?.State.ExitCode, 7)
    assert.equal((await inspected(daemon, 'other'))?.State.Status, 'running')
    assert.equal(await daemon.mustDocker(['logs', 'ends']), 'said')
    await fill()
  }
  await daemon.mustDocker(['stop', '-t', '0', 'other'])
  await daemon.mustDocker(['rm', 'ends'])
  assert.match(await daemon.mustDocker(['container', 'prune', '-f']), /Deleted Containers/)
  assert.match(await daemon.mustDocker(['image', 'prune', '-af']), /untagged: busybox/)
  await daemon.kill()
  await daemon.start()
  assert.equal(await daemon.mustDocker(['ps', '-aq']), '')
  assert.equal(await daemon.mustDocker(['images', '-q']), '')
})

test('what is free again is used again', async () => {
  await must(['rm', filler])
  await daemon.loadBusybox()
  await daemon.mustDocker(['load', '-q', '-i', path.join(daemon.base, 'big.tar')])
  assert.equal(
    await daemon.mustDocker(['run', '--rm', '--name', 'late', 'busybox', 'echo', 'again']),
    'again',
  )
  await daemon.mustDocker(['rmi', 'big:1'])
  await until('the ballast is taken again', () => existsSync(ballast))
  assert.equal(await isFull(), false)
  await audit(daemon)
})

/** Leaves so many MiB. */
const fillBut = async (mebibytes: number): Promise<void> => {
  const { bavail, bsize } = statfsSync(daemon.dataRoot)
  await must(['fallocate', '-l', String(bavail * bsize - mebibytes * 2 ** 20), filler])
}

const stored = (): string[] =>
  ['blobs/sha256', 'layers', 'trash'].flatMap(folder =>
    readdirSync(path.join(daemon.dataRoot, folder)).map(name => `${folder}/${name}`),
  )

const isWholeBlob = (name: string): boolean => /^blobs\/sha256\/[0-9a-f]{64}$/.test(name)

test('a pull that finds the disk full says so, keeps nothing but whole blobs, and succeeds when there is space', async () => {
  await using registry = await ImageRegistry.start(daemon.namespace)
  await registry.serve({ repository: 'big', tag: '1', which: 'big', bytes: 16 << 20 })
  const name = `${registry.address}/big:1`
  await daemon.mustDocker(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
  const before = stored()
  // Without space for what the blob holds, for the blob, for anything.
  for (const mebibytes of [28, 8, 1]) {
    await fillBut(mebibytes)
    const pull = await daemon.docker(['pull', name])
    assert.equal(pull.code, 1, pull.stdout)
    assert.match(pull.stderr, spaceless)
    assert.equal((await daemon.docker(['image', 'inspect', name])).code, 1)
    await until('nothing of it is left', () => {
      const left = stored().filter(found => !before.includes(found))
      return left.every(found => isWholeBlob(found) && mebibytes > 16)
    })
    assert.equal(await daemon.mustDocker(['exec', 'other', 'echo', 'alive']), 'alive')
    await daemon.mustDocker(['image', 'prune', '-f'])
    await must(['rm', filler])
  }
  await daemon.mustDocker(['pull', '-q', name])
  assert.equal(await daemon.mustDocker(['run', '--rm', name, 'cat', '/which']), 'big')
  await daemon.mustDocker(['rm', '-f', 'other'])
  await daemon.mustDocker(['rmi', name])
  await audit(daemon)
})

test('what there is no space to unpack is not fetched again', async () => {
  await using registry = await ImageRegistry.start(daemon.namespace)
  const { layers } = await registry.serve({ repository: 'wide', tag: '1', which: 'wide', zeros: 48 << 20 })
  const name = `${registry.address}/wide:1`
  await fillBut(28)
  const pull = await daemon.docker(['pull', name])
  assert.equal(pull.code, 1, pull.stdout)
  assert.match(pull.stderr, spaceless)
  await must(['rm', filler])
  await registry.seen()
  await daemon.mustDocker(['pull', '-q', name])
  const asked = await registry.seen()
  assert.ok(!asked.some(line => line.startsWith('GET') && line.includes(layers.at(-1) ?? '')), asked.join())
  await daemon.mustDocker(['rmi', name])
  await audit(daemon)
})

test('a daemon that stopped in order starts on a disk that was filled meanwhile', async () => {
  await daemon.kill('SIGTERM')
  await fill()
  await daemon.start()
  await daemon.mustDocker(['rmi', 'busybox'])
  await must(['rm', filler])
  await daemon.loadBusybox()
  await audit(daemon)
})

test('a daemon without descriptors says so, and goes on when it has some again', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
  const limit = (soft: number): Promise<string> =>
    must(['prlimit', '--pid', String(daemon.pid), `--nofile=${soft}:`])
  await daemon.mustDocker(['create', '--name', 'late', 'busybox', 'true'])
  // Enough for a client's connection, too few for what a start needs.
  const used = new Set(readdirSync(`/proc/${daemon.pid}/fd`).map(Number))
  let soft = 0
  for (let free = 0; free < 2; soft++) if (!used.has(soft)) free++
  await limit(soft)
  const { status, text } = await daemon.api('POST', '/containers/late/start')
  assert.equal(status, 500)
  assert.match(text, /too many open files.*; the daemon has as many files open as it may: raise its limit/)
  await limit(4096)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'busybox', 'echo', 'again']), 'again')
  assert.equal(await daemon.mustDocker(['exec', 'other', 'echo', 'alive']), 'alive')
  await daemon.mustDocker(['start', '-a', 'late'])
  await daemon.mustDocker(['rm', '-f', 'other', 'late'])
  await audit(daemon)
})
