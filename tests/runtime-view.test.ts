import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { mount, parseMountInfo, unmount } from '../src/linux/mount.ts'
import { TestDaemon } from './harness/daemon.ts'

/** What runtimes see of the mounts of other containers: nothing, however many there are. */

let daemon: TestDaemon
const runtimes = ['crun', 'runc']

/** Notes its mounts at each run, then is the runtime that it is called by. */
const wrapper = (runtime: string): string => {
  const file = path.join(daemon.base, `${runtime}-watched`)
  writeFileSync(
    file,
    `#!/bin/sh\ncat /proc/self/mountinfo >${daemon.base}/seen-${runtime}\nexec ${runtime} "$@"\n`,
  )
  chmodSync(file, 0o755)
  return file
}

before(async () => {
  daemon = new TestDaemon({})
  await daemon.prepare()
  const flags = runtimes.flatMap(runtime => ['--add-runtime', `watched-${runtime}=${wrapper(runtime)}`])
  await daemon.start({ flags })
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const idOf = (name: string): Promise<string> => docker('inspect', '-f', '{{.Id}}', name)

const seenBy = (runtime: string): string[] =>
  parseMountInfo(readFileSync(path.join(daemon.base, `seen-${runtime}`), 'utf8')).map(({ target }) => target)

const watched = (runtime: string, ...args: string[]): Promise<string> =>
  docker('run', '--runtime', `watched-${runtime}`, ...args)

test('a runtime sees the mounts of its own container and the host’s, and none of another’s', async () => {
  await docker('run', '-d', '--name', 'other', 'busybox', 'sleep', '1000')
  const other = await idOf('other')
  for (const runtime of runtimes) {
    await watched(runtime, '--name', `own-${runtime}`, 'busybox', 'true')
    const id = await idOf(`own-${runtime}`)
    const seen = seenBy(runtime)
    const hidden = ['mounts', 'netns'].map(folder => path.join(daemon.execRoot, folder))
    assert.deepEqual(
      seen.filter(target => hidden.some(folder => target.startsWith(`${folder}/`))),
      hidden.map(folder => path.join(folder, id)),
      runtime,
    )
    assert.ok(seen.includes('/proc'), 'the host’s')
    assert.ok(!seen.some(target => target.includes(other)))
    await docker('rm', `own-${runtime}`)
  }
  await docker('rm', '-f', 'other')
})

test('what a container needs of others is there: images, namespaces, and their roots', async () => {
  await docker('run', '-d', '--name', 'partner', 'busybox', 'sleep', '1000')
  await docker('exec', 'partner', 'touch', '/mark')
  const merged = await docker('inspect', '-f', '{{.GraphDriver.Data.MergedDir}}', 'partner')
  const address = await docker('exec', 'partner', 'hostname', '-i')
  for (const runtime of runtimes) {
    const container = { Image: 'busybox', Cmd: ['ls', '/image/bin/true'] }
    const mount = { Type: 'image', Source: 'busybox', Target: '/image' }
    await daemon.json('POST', `/v1.48/containers/create?name=images`, {
      ...container,
      HostConfig: { Runtime: `watched-${runtime}`, Mounts: [mount] },
    })
    assert.equal(await docker('start', '-a', 'images'), '/image/bin/true')
    await docker('rm', 'images')
    assert.equal(
      await watched(runtime, '--rm', '-v', `${merged}:/seen`, 'busybox', 'ls', '/seen/mark'),
      '/seen/mark',
    )
    const joined = await watched(
      runtime,
      '--rm',
      '--network',
      'container:partner',
      'busybox',
      'hostname',
      '-i',
    )
    assert.equal(joined, address)
    const tree = ['-v', '/:/host', 'busybox', 'sh', '-c', 'ls -d /host/proc/1; grep /host /proc/mounts']
    const host = await watched(runtime, '--rm', ...tree)
    assert.match(host, /^\/host\/proc\/1$/m, 'the host’s tree, with what is mounted in it')
    assert.ok(!host.includes(path.join('/host', merged)), 'but for the roots of others')
  }
  await docker('rm', '-f', 'partner')
})

test('mounts that come to the host later are seen by later containers', async () => {
  const place = path.join(daemon.base, 'later')
  mkdirSync(place)
  mount({ source: 'later', target: place, type: 'tmpfs' })
  writeFileSync(path.join(place, 'file'), 'there')
  for (const runtime of runtimes)
    assert.equal(
      await watched(runtime, '--rm', '-v', `${place}:/later`, 'busybox', 'cat', '/later/file'),
      'there',
    )
})

test('the namespace that views begin with is made again where it is lost', async () => {
  const pin = path.join(daemon.execRoot, 'bare/mnt')
  assert.ok(existsSync(pin))
  await daemon.kill()
  unmount(pin)
  unmount(path.dirname(pin))
  rmSync(path.dirname(pin), { recursive: true })
  await daemon.start()
  assert.equal(await docker('run', '--rm', 'busybox', 'echo', 'runs'), 'runs')
})

test('where all mounts are shared, none comes back to the host from what a runtime sees', async () => {
  const shared = new TestDaemon({ within: ['unshare', '--mount', '--propagation', 'shared'] })
  await shared.prepare()
  await shared.start()
  try {
    await shared.loadBusybox()
    const mounts = (): string[] =>
      parseMountInfo(readFileSync(`/proc/${shared.pid}/mountinfo`, 'utf8')).map(({ target }) => target)
    assert.ok(parseMountInfo(readFileSync(`/proc/${shared.pid}/mountinfo`, 'utf8'))[0]?.propagation.length)
    for (const runtime of runtimes) {
      const volume = ['-v', '/tmp:/t:rshared']
      const id = await shared.mustDocker([
        'run',
        '-d',
        '--runtime',
        runtime,
        ...volume,
        'busybox',
        'sleep',
        '1000',
      ])
      assert.equal(mounts().filter(target => target.endsWith(`/mounts/${id}`)).length, 1, runtime)
      assert.equal(mounts().filter(target => target.endsWith(`/netns/${id}`)).length, 1, runtime)
    }
  } finally {
    await shared.close()
  }
})
