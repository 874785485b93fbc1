import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { mappedRoot } from './remappedUsers.ts'
import { until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of containers in user namespaces of their own, for the crash tests: the daemon remaps. */

const name = 'spaced'

const create = (daemon: TestDaemon): Promise<unknown> =>
  daemon.mustDocker([
    ...['create', '--name', name, '-v', '/data', '-p', '8080:80', 'busybox', 'sh', '-c'],
    'touch /made; exec sleep 1000',
  ])

const start = async (daemon: TestDaemon): Promise<void> => {
  await create(daemon)
  await daemon.mustDocker(['start', name])
}

const statusOf = async (daemon: TestDaemon): Promise<string> => {
  const { State } = await daemon.json<{ State: { Status: string } }>('GET', `/containers/${name}/json`)
  return State.Status
}

const left = (daemon: TestDaemon, folder: string): string[] => {
  const place = path.join(daemon.execRoot, folder)
  return existsSync(place) ? readdirSync(place) : []
}

/** It runs, or does again, as root of its own; nothing of it stays. */
const isMapped = async (daemon: TestDaemon): Promise<void> => {
  await daemon.mustDocker(['start', name])
  const look = 'touch /data/x; stat -c %u / /data /data/x /etc/hosts; cat /proc/self/uid_map'
  const seen = await daemon.mustDocker(['exec', name, 'sh', '-c', look])
  assert.match(seen, new RegExp(`^0\n0\n0\n0\n +0 +${mappedRoot.uid} `))
  await daemon.mustDocker(['rm', '-f', '-v', name])
  for (const folder of ['userns', 'netns', 'mapped-layers'])
    assert.deepEqual(left(daemon, folder), [], folder)
}

export const userNamespaceVerbs: Verb[] = [
  {
    name: 'create of one with a user namespace',
    points: ['uppers.created', 'uppers.mapped', 'create.volumes', 'create.recorded'],
    run: daemon => daemon.docker(['create', '--name', name, '-v', '/etc', 'busybox', 'true']),
    check: async daemon => {
      await daemon.docker(['rm', '-v', name])
      await create(daemon)
      await isMapped(daemon)
    },
  },
  {
    name: 'start of one with a user namespace',
    points: [
      ...['uppers.mapped', 'uppers.mounted', 'net.sandbox.user', 'net.sandbox.owned', 'net.sandbox.created'],
      ...['net.connect.link', 'net.connect.inside', 'start.connected', 'start.saved', 'start.monitor'],
      ...['start.started', 'start.recorded'],
    ],
    prepare: create,
    run: daemon => daemon.docker(['start', name]),
    check: isMapped,
  },
  {
    name: 'stop of one with a user namespace',
    points: ['exit.saved', 'net.disconnect.link', 'exit.cleared', 'exit.released'],
    prepare: start,
    run: daemon => daemon.docker(['stop', '-t', '0', name]),
    check: async daemon => {
      await until('it has stopped', async () => (await statusOf(daemon)) === 'exited')
      await isMapped(daemon)
    },
  },
  {
    name: 'rm -f of one with a user namespace',
    points: ['remove.recorded', 'net.disconnect.link', 'uppers.unmounted', 'trash.renamed', 'remove.step'],
    prepare: start,
    run: daemon => daemon.docker(['rm', '-f', '-v', name]),
    check: async daemon => {
      await daemon.docker(['rm', '-f', '-v', name])
      await create(daemon)
      await isMapped(daemon)
    },
  },
]
