import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of volumes, for the crash tests. */

const sleeper = ['busybox', 'sleep', '1000']

const names = async (daemon: TestDaemon): Promise<string[]> =>
  (await daemon.mustDocker(['volume', 'ls', '-q'])).split('\n').filter(Boolean)

const removeVolumes = async (daemon: TestDaemon): Promise<void> => {
  const found = await names(daemon)
  if (found.length > 0) await daemon.mustDocker(['volume', 'rm', ...found])
}

const containerExists = async (daemon: TestDaemon, name: string): Promise<boolean> =>
  (await daemon.api('GET', `/containers/${name}/json`)).status === 200

/** What a volume holds, seen from a container that brings nothing into it. */
const content = (daemon: TestDaemon, name: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', '-v', `${name}:/v:nocopy`, 'busybox', 'ls', '/v'])

/** The image's directory that fills volumes, with the places of what is mounted into every container. */
const filled = 'group\nhostname\nhosts\nmtab\npasswd\nresolv.conf'

const withContent = async (daemon: TestDaemon, name: string): Promise<void> => {
  await removeVolumes(daemon)
  await daemon.mustDocker(['run', '--rm', '-v', `${name}:/v`, 'busybox', 'touch', '/v/file'])
}

/** It can be written to and removed, and its name is free then. */
const isUsable = async (daemon: TestDaemon, name: string): Promise<void> => {
  await daemon.mustDocker(['run', '--rm', '-v', `${name}:/v`, 'busybox', 'touch', '/v/file'])
  await daemon.mustDocker(['volume', 'rm', name])
  await daemon.mustDocker(['volume', 'create', name])
  assert.equal(await content(daemon, name), '')
  await removeVolumes(daemon)
}

const boundFolder = (daemon: TestDaemon): string => path.join(daemon.base, 'bound')

const makeBound = (daemon: TestDaemon): Promise<string> =>
  daemon.mustDocker([
    ...['volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${boundFolder(daemon)}`],
    'mounted',
  ])

/** A container with a volume that is mounted while it runs, and with a part of it. */
const makeMounted = async (daemon: TestDaemon, verb: string[]): Promise<void> => {
  await removeVolumes(daemon)
  const folder = boundFolder(daemon)
  mkdirSync(path.join(folder, 'part'), { recursive: true })
  writeFileSync(path.join(folder, 'part/file'), 'bound')
  await makeBound(daemon)
  await daemon.mustDocker([
    ...[...verb, '--name', 'mounting', '-v', 'mounted:/v'],
    ...['--mount', 'type=volume,source=mounted,target=/p,volume-subpath=part', ...sleeper],
  ])
}

/** It runs, or does again, with what it has mounted. */
const seesMounted = async (daemon: TestDaemon): Promise<void> => {
  await daemon.mustDocker(['start', 'mounting'])
  assert.equal(await daemon.mustDocker(['exec', 'mounting', 'cat', '/v/part/file', '/p/file']), 'boundbound')
  await daemon.mustDocker(['rm', '-f', 'mounting'])
  await removeVolumes(daemon)
}

export const volumeVerbs: Verb[] = [
  {
    name: 'volume create',
    points: ['volume.create.staged', 'volume.create.recorded', 'volume.create.placed'],
    prepare: removeVolumes,
    run: daemon => daemon.docker(['volume', 'create', 'made']),
    check: async (daemon, { told, point }) => {
      const there = (await names(daemon)).includes('made')
      assert.equal(there, told || point !== 'volume.create.staged')
      await isUsable(daemon, 'made')
    },
  },
  {
    name: 'create with a new volume',
    points: ['volume.create.staged', 'create.volumes', 'create.recorded', 'volume.create.placed'],
    prepare: removeVolumes,
    run: daemon => daemon.docker(['create', '--name', 'user', '-v', 'fresh:/etc', ...sleeper]),
    check: async (daemon, { told, point }) => {
      const there = await containerExists(daemon, 'user')
      assert.equal(there, told || ['create.recorded', 'volume.create.placed'].includes(point))
      assert.deepEqual(await names(daemon), there ? ['fresh'] : [])
      if (!there) await daemon.mustDocker(['create', '--name', 'user', '-v', 'fresh:/etc', ...sleeper])
      assert.equal(await content(daemon, 'fresh'), filled)
      await daemon.mustDocker(['rm', '-f', 'user'])
      await isUsable(daemon, 'fresh')
    },
  },
  {
    name: 'create that fills a volume',
    points: ['volume.fill.copied', 'volume.fill.ready', 'volume.fill.moving', 'volume.fill.moved'],
    prepare: async daemon => {
      await removeVolumes(daemon)
      await daemon.mustDocker(['volume', 'create', 'older'])
    },
    run: daemon => daemon.docker(['create', '--name', 'filler', '-v', 'older:/etc', ...sleeper]),
    check: async (daemon, { point }) => {
      assert.equal(await containerExists(daemon, 'filler'), false)
      assert.equal(await content(daemon, 'older'), point === 'volume.fill.copied' ? '' : filled)
      await daemon.mustDocker(['create', '--name', 'filler', '-v', 'older:/etc', ...sleeper])
      assert.equal(await content(daemon, 'older'), filled)
      await daemon.mustDocker(['rm', '-f', 'filler'])
      await isUsable(daemon, 'older')
    },
  },
  {
    name: 'create that fills a mounted volume',
    points: ['volume.mount.done', 'volume.fill.copied', 'volume.fill.ready', 'volume.unmount.done'],
    prepare: async daemon => {
      await removeVolumes(daemon)
      rmSync(boundFolder(daemon), { recursive: true, force: true })
      mkdirSync(boundFolder(daemon))
      await makeBound(daemon)
    },
    run: daemon => daemon.docker(['create', '--name', 'filler', '-v', 'mounted:/etc', ...sleeper]),
    check: async (daemon, { point }) => {
      assert.equal(await containerExists(daemon, 'filler'), false)
      const before = ['volume.mount.done', 'volume.fill.copied'].includes(point)
      assert.equal(await content(daemon, 'mounted'), before ? '' : filled)
      await daemon.mustDocker(['create', '--name', 'filler', '-v', 'mounted:/etc', ...sleeper])
      assert.deepEqual(readdirSync(boundFolder(daemon)).sort(), filled.split('\n'))
      await daemon.mustDocker(['rm', '-f', 'filler'])
      await removeVolumes(daemon)
    },
  },
  {
    name: 'volume rm',
    points: ['volume.remove.aside', 'volume.remove.recorded', 'trash.renamed'],
    prepare: daemon => withContent(daemon, 'gone'),
    run: daemon => daemon.docker(['volume', 'rm', 'gone']),
    check: async (daemon, { told, point }) => {
      const there = (await names(daemon)).includes('gone')
      assert.equal(there, !told && point === 'volume.remove.aside')
      if (there) assert.equal(await content(daemon, 'gone'), 'file')
      await isUsable(daemon, 'gone')
    },
  },
  {
    name: 'rm -v',
    points: ['volume.remove.aside', 'volume.remove.recorded', 'trash.renamed'],
    prepare: async daemon => {
      await removeVolumes(daemon)
      await daemon.mustDocker(['run', '--name', 'owner', '-v', '/v', 'busybox', 'touch', '/v/file'])
    },
    run: daemon => daemon.docker(['rm', '-v', 'owner']),
    check: async (daemon, { point }) => {
      const [name] = await names(daemon)
      assert.equal(await containerExists(daemon, 'owner'), name !== undefined)
      assert.equal(name !== undefined, point === 'volume.remove.aside')
      if (name !== undefined) assert.equal(await content(daemon, name), 'file')
    },
  },
  {
    name: 'volume prune',
    points: ['volume.prune.one'],
    prepare: async daemon => {
      await withContent(daemon, 'loose')
      await daemon.mustDocker(['volume', 'create', 'other'])
    },
    run: daemon => daemon.docker(['volume', 'prune', '-f', '-a']),
    check: async daemon => {
      assert.equal((await names(daemon)).length, 1, 'it died after the first')
      await daemon.mustDocker(['volume', 'prune', '-f', '-a'])
      assert.deepEqual(await names(daemon), [])
      await isUsable(daemon, 'loose')
    },
  },
  {
    name: 'start with a mounted volume',
    points: ['volume.mount.intended', 'volume.mount.done', 'start.volumes', 'start.started'],
    prepare: daemon => makeMounted(daemon, ['create']),
    run: daemon => daemon.docker(['start', 'mounting']),
    check: seesMounted,
  },
  {
    name: 'stop with a mounted volume',
    points: ['exit.saved', 'volume.unmount.done'],
    prepare: daemon => makeMounted(daemon, ['run', '-d']),
    run: daemon => daemon.docker(['stop', '-t', '0', 'mounting']),
    check: async daemon => {
      await until('it has stopped', async () => {
        const { State } = await daemon.json<{ State: { Status: string } }>('GET', '/containers/mounting/json')
        return State.Status === 'exited'
      })
      await seesMounted(daemon)
    },
  },
]
