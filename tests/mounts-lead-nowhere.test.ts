import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { tarEntry } from '../src/archive/writer.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { busyboxLayer, dockerArchive } from './harness/images.ts'
import { isRuncBefore } from './harness/runtimes.ts'
import { run } from './harness/shell.ts'

/** Whoever can write to an image, a volume or a container’s files leads no mount and no copy out of it by links. */

let daemon: TestDaemon
/** A directory of the host that no container has; nothing may come into it or out of it. */
let outside: string
let source: string
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  outside = path.join(daemon.base, 'outside')
  source = path.join(daemon.base, 'source')
  for (const folder of [outside, source]) mkdirSync(folder)
  writeFileSync(path.join(outside, 'secret'), 'secret')
  mkdirSync(path.join(source, 'sub'))
  for (const name of ['given', 'sub/given']) writeFileSync(path.join(source, name), 'given')
  const links = [
    ['up', `../../../../../../../..${outside}`],
    ['absolute', outside],
    ['self', '/proc/self/root'],
  ].map(([name = '', linkName = '']) => ({
    entry: tarEntry({ type: 'symlink', name, linkName, mode: 0o777 }),
  }))
  const archive = path.join(daemon.base, 'hostile.tar')
  writeFileSync(
    archive,
    await dockerArchive([{ tags: ['hostile:latest'], layers: [[...busyboxLayer(), ...links]] }]),
  )
  await daemon.mustDocker(['load', '-q', '-i', archive])
})
after(() => daemon.close())

const untouched = (what: string): void => {
  assert.deepEqual(readdirSync(outside), ['secret'], what)
  assert.equal(readFileSync(path.join(outside, 'secret'), 'utf8'), 'secret', what)
}

/** A running container that makes `place` a directory and a link to the outside, in turn and without end. */
const startSwapping = async (name: string, place: string, options: string[] = []): Promise<void> => {
  const script = `cd ${path.posix.dirname(place)}; n=${path.posix.basename(place)}
    while :; do
      mkdir -p $n/x; rm -rf $n; ln -s ${outside} $n; rm -f $n; ln -s ../../../../../../../..${outside} $n; rm -f $n
    done 2>/dev/null`
  await daemon.mustDocker(['run', '-d', '--name', name, ...options, 'busybox', 'sh', '-c', script])
}

/** It went on to the end: else nothing was shown. */
const stopSwapping = async (name: string): Promise<void> => {
  await daemon.mustDocker(['exec', name, 'true'])
  await daemon.mustDocker(['rm', '-f', name])
}

const tries = 12

/** An empty folder, in which nothing is mounted. */
const removePlaces = (): void => {
  for (const place of readdirSync(outside).filter(name => name !== 'secret'))
    rmdirSync(path.join(outside, place))
}

for (const runtime of ['crun', 'runc']) {
  test(`${runtime}: links of an image at the places of mounts lead nowhere out of it`, async () => {
    for (const link of ['up', 'absolute', 'self']) {
      const options = [
        ...[
          '-v',
          `${source}:/${link}/bound`,
          '-v',
          `vol-${runtime}:/${link}/volume`,
          '--tmpfs',
          `/${link}/memory`,
        ],
        ...['--mount', `type=bind,source=${source}/given,target=/${link}/file`],
      ]
      await daemon.docker(['run', '--rm', '--runtime', runtime, ...options, 'hostile', 'true'])
      untouched(`mounts below ${link}`)
      await daemon.docker(['run', '--rm', '--runtime', runtime, '-w', `/${link}/work`, 'hostile', 'true'])
      untouched(`a working directory below ${link}`)
      const over = await daemon.docker([
        ...['run', '--rm', '--runtime', runtime, '-v', `${source}:/${link}`, 'hostile', 'ls', `/${link}`],
      ])
      assert.doesNotMatch(over.stdout, /secret/)
      untouched(`a mount over ${link}`)
    }
  })

  test(`${runtime}: links that come and go below a mount lead no other mount out`, async () => {
    const volume = `swapped-${runtime}`
    // CVE-2024-45310: it makes the place of a mount outside.
    const isLed = await isRuncBefore(runtime, '1.1.14')
    await startSwapping(`target-${runtime}`, '/v/s', ['-v', `${volume}:/v`])
    for (let count = 0; count < tries; count++) {
      const seen = await daemon.docker([
        ...[
          'run',
          '--rm',
          '--runtime',
          runtime,
          '-v',
          `${volume}:/v`,
          '-v',
          `${source}:/v/s/x`,
          '--tmpfs',
          '/v/s/y',
        ],
        ...['busybox', 'ls', '/v/s/'],
      ])
      assert.doesNotMatch(seen.stdout, /secret/)
      if (isLed) removePlaces()
      untouched(`start ${count}`)
    }
    await stopSwapping(`target-${runtime}`)
  })
}

test('links that come and go at a part of a volume show nothing but the volume', async () => {
  await startSwapping('part', '/v/s', ['-v', 'parts:/v'])
  for (let count = 0; count < tries; count++) {
    const seen = await daemon.docker([
      ...['run', '--rm', '--mount', 'type=volume,source=parts,target=/p,volume-subpath=s,volume-nocopy'],
      ...['busybox', 'sh', '-c', 'ls /p; touch /p/written'],
    ])
    assert.doesNotMatch(seen.stdout, /secret/)
    untouched(`start ${count}`)
  }
  await stopSwapping('part')
})

test('docker cp is led nowhere by links that come and go', async () => {
  await startSwapping('copied', '/tmp/s')
  const target = path.join(daemon.base, 'got')
  for (let count = 0; count < tries; count++) {
    for (const from of ['/tmp/s', '/tmp/s/', '/tmp/s/secret', '/tmp']) {
      rmSync(target, { recursive: true, force: true })
      mkdirSync(target)
      await daemon.docker(['cp', `copied:${from}`, target])
      const found = await run(['grep', '-rl', 'secret', target])
      assert.equal(found.stdout, '', `copied out of ${from}`)
    }
    await daemon.docker(['cp', `${source}/given`, 'copied:/tmp/s/given'])
    await daemon.docker(['cp', `${source}/.`, 'copied:/tmp/s'])
    untouched(`copy ${count}`)
  }
  await stopSwapping('copied')
})

test('a tree that is copied in goes through no link that comes up on its way', async () => {
  const tree = path.join(daemon.base, 'tree')
  for (let count = 0; count < 200; count++) {
    mkdirSync(path.join(tree, 's', `d${count}`), { recursive: true })
    writeFileSync(path.join(tree, 's', `d${count}`, 'file'), 'in a tree')
  }
  await startSwapping('tree', '/tmp/tree/s', ['--tmpfs', '/tmp'])
  for (let count = 0; count < 4; count++) {
    await daemon.docker(['cp', tree, 'tree:/tmp'])
    untouched(`tree ${count}`)
  }
  await stopSwapping('tree')
})
