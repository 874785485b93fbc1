import assert from 'node:assert/strict'
import { buildContainerVerbs } from './buildContainerVerbs.ts'
import { buildHistoryVerbs } from './buildHistoryVerbs.ts'
import { buildVerbs } from './buildVerbs.ts'
import type { TestDaemon } from './daemon.ts'
import { deliveryVerbs } from './deliveryVerbs.ts'
import { busyboxArchive } from './images.ts'
import { logVerbs } from './logVerbs.ts'
import { mountVerbs } from './mountVerbs.ts'
import { networkVerbs } from './networkVerbs.ts'
import { platformVerbs } from './platformVerbs.ts'
import { portVerbs } from './portVerbs.ts'
import { pullVerbs } from './pullVerbs.ts'
import { pushVerbs } from './pushVerbs.ts'
import { type Outcome, until } from './shell.ts'
import { storeVerbs } from './storeVerbs.ts'
import { userNamespaceVerbs } from './userNamespaceVerbs.ts'
import { volumePluginVerbs } from './volumePluginVerbs.ts'
import { volumeVerbs } from './volumeVerbs.ts'

/** The verbs whose every step the crash tests kill the daemon at, and what must hold afterwards. */
export interface Verb {
  name: string
  points: string[]
  /** Before the daemon that will die is started. */
  prepare?: (daemon: TestDaemon) => Promise<unknown>
  run: (daemon: TestDaemon) => Promise<Outcome>
  /** After the audit; `told` is true where the client ended well. */
  check: (daemon: TestDaemon, seen: { told: boolean; point: string; outcome: Outcome }) => Promise<void>
}

const sleeper = ['busybox', 'sleep', '1000']
/** Options that give a container everything: a volume, a published port. */
const everything = ['-v', '/data', '-p', '8080:80']

export const inspected = async (daemon: TestDaemon, name: string) => {
  const { status, text } = await daemon.api('GET', `/containers/${name}/json`)
  return status === 200
    ? (JSON.parse(text) as {
        State: { Status: string; ExitCode: number }
        HostConfig: { Memory: number }
        Name: string
      })
    : undefined
}

/** The name is free, or its container is whole: it starts, runs, and goes. */
export const isWholeOrAbsent = async (daemon: TestDaemon, name: string): Promise<void> => {
  if (!(await inspected(daemon, name)))
    await daemon.mustDocker(['create', '--name', name, ...everything, ...sleeper])
  await daemon.mustDocker(['start', name])
  assert.equal(await daemon.mustDocker(['exec', name, 'echo', 'alive']), 'alive')
  await daemon.mustDocker(['rm', '-f', '-v', name])
}

const startPoints = [
  ...['uppers.before-mount', 'uppers.mounted', 'start.mounted', 'net.sandbox.created', 'net.connect.bound'],
  ...['net.connect.reserve', 'net.connect.link', 'net.connect.inside', 'net.connect.publish'],
  ...['net.connect.flows', 'start.connected', 'start.saved', 'start.bundle', 'start.monitor'],
  ...['start.handed', 'start.started', 'start.recorded'],
]
const endPoints = [
  ...['exit.saved', 'net.disconnect.publish', 'net.disconnect.flows', 'net.disconnect.ports'],
  ...['net.disconnect.link', 'exit.cleared', 'exit.released'],
]
const removePoints = ['remove.recorded', 'uppers.unmounted', 'trash.renamed', 'remove.step', 'remove.files']
const ranPoints = ['start.started', 'start.recorded']

const lifeVerbs: Verb[] = [
  {
    name: 'create',
    points: [
      ...['create.decided', 'uppers.prepared', 'uppers.before-rename', 'uppers.created', 'create.upper'],
      ...['create.volumes', 'create.recorded'],
    ],
    run: daemon => daemon.docker(['create', '--name', 'made', ...everything, ...sleeper]),
    check: async (daemon, { told, point }) => {
      const there = (await inspected(daemon, 'made')) !== undefined
      assert.equal(there, told || point === 'create.recorded')
      await isWholeOrAbsent(daemon, 'made')
    },
  },
  {
    name: 'start',
    points: startPoints,
    prepare: daemon => daemon.mustDocker(['create', '--name', 'begun', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['start', 'begun']),
    check: async (daemon, { told, point }) => {
      const status = (await inspected(daemon, 'begun'))?.State.Status
      assert.equal(status, told || ranPoints.includes(point) ? 'running' : 'created')
      await isWholeOrAbsent(daemon, 'begun')
    },
  },
  {
    name: 'start of one that ended with 3',
    points: ['start.connected', 'start.saved', 'start.bundle', 'start.monitor', 'start.handed'],
    prepare: daemon =>
      daemon.docker(
        ['run', '--name', 'before', ...everything].concat([
          'busybox',
          'sh',
          '-c',
          'test -e /done && exec sleep 1000; touch /done; exit 3',
        ]),
      ),
    run: daemon => daemon.docker(['start', 'before']),
    check: async daemon => {
      const state = (await inspected(daemon, 'before'))?.State
      assert.deepEqual([state?.Status, state?.ExitCode], ['exited', 3])
      await isWholeOrAbsent(daemon, 'before')
    },
  },
  {
    name: 'run --rm of what ends at once',
    points: ['start.started', 'exit.saved', 'exit.cleared', 'exit.released', ...removePoints],
    run: daemon =>
      daemon.docker(['run', '--rm', '--name', 'brief', ...everything, 'busybox', 'sh', '-c', 'exit 3']),
    check: async (daemon, { outcome }) => {
      // With the connection of `start` lost the client may say 125; any other code is the true one.
      assert.ok([3, 125].includes(outcome.code), `${outcome.code}: ${outcome.stderr}`)
      assert.equal(await inspected(daemon, 'brief'), undefined)
      await isWholeOrAbsent(daemon, 'brief')
    },
  },
]

const endVerbs: Verb[] = [
  {
    name: 'an end by itself, with a restart policy',
    points: endPoints,
    prepare: daemon =>
      daemon.mustDocker(
        ['run', '-d', '--name', 'again', '--restart', 'on-failure', ...everything].concat([
          'busybox',
          'sh',
          '-c',
          'test -e /done && exec sleep 1000; while ! test -e /go; do sleep 0.05; done; touch /done; exit 4',
        ]),
      ),
    run: daemon => daemon.docker(['exec', 'again', 'touch', '/go']),
    check: async daemon => {
      await until('it runs again', async () => (await inspected(daemon, 'again'))?.State.Status === 'running')
      await isWholeOrAbsent(daemon, 'again')
    },
  },
  {
    name: 'stop',
    points: ['stop.recorded', 'stop.signalled', 'exit.saved', 'exit.cleared'],
    prepare: daemon =>
      daemon.mustDocker(
        ['run', '-d', '--name', 'halted', '--restart', 'unless-stopped', ...everything].concat([
          'busybox',
          'sh',
          '-c',
          "trap 'exit 6' TERM; while :; do sleep 0.05; done",
        ]),
      ),
    run: daemon => daemon.docker(['stop', 'halted']),
    check: async (daemon, { told, point }) => {
      if (point === 'stop.recorded') assert.equal(told, false)
      else
        await until('it has stopped', async () => {
          const state = (await inspected(daemon, 'halted'))?.State
          return state?.Status === 'exited' && state.ExitCode === 6
        })
      await isWholeOrAbsent(daemon, 'halted')
    },
  },
  {
    name: 'kill',
    points: ['kill.recorded', 'kill.signalled', 'exit.saved'],
    prepare: daemon => daemon.mustDocker(['run', '-d', '--name', 'shot', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['kill', 'shot']),
    check: async (daemon, { point }) => {
      const state = (await inspected(daemon, 'shot'))?.State
      if (point === 'kill.recorded') assert.equal(state?.Status, 'running')
      else assert.deepEqual([state?.Status, state?.ExitCode], ['exited', 137])
      await isWholeOrAbsent(daemon, 'shot')
    },
  },
  {
    name: 'rm -f',
    points: ['remove.intended', 'remove.killed', 'exit.saved', 'exit.cleared', ...removePoints],
    prepare: daemon => daemon.mustDocker(['run', '-d', '--name', 'gone', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['rm', '-f', '-v', 'gone']),
    check: async daemon => {
      await until('it is gone', async () => (await inspected(daemon, 'gone')) === undefined)
      await isWholeOrAbsent(daemon, 'gone')
    },
  },
]

const smallVerbs: Verb[] = [
  {
    name: 'exec',
    points: [
      ...['exec.created', 'exec.begun', 'exec.accepted', 'exec.monitor', 'exec.attached'],
      'exec.started',
    ],
    prepare: daemon => daemon.mustDocker(['run', '-d', '--name', 'host', ...sleeper]),
    run: daemon => daemon.docker(['exec', 'host', 'sh', '-c', 'exit 5']),
    check: async (daemon, { outcome, point }) => {
      if (point === 'exec.started') assert.equal(outcome.code, 5, outcome.stderr)
      assert.notEqual(outcome.code, 0, 'nothing ran, or it ended with 5')
      assert.equal((await daemon.docker(['exec', 'host', 'sh', '-c', 'exit 5'])).code, 5)
      await daemon.mustDocker(['rm', '-f', 'host'])
    },
  },
  {
    name: 'pause',
    points: ['pause.done'],
    prepare: daemon => daemon.mustDocker(['run', '-d', '--name', 'still', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['pause', 'still']),
    check: async daemon => {
      assert.equal((await inspected(daemon, 'still'))?.State.Status, 'paused')
      await daemon.mustDocker(['unpause', 'still'])
      await isWholeOrAbsent(daemon, 'still')
    },
  },
  {
    name: 'commit',
    points: ['pause.done', 'commit.paused', 'commit.layer'],
    prepare: daemon => daemon.mustDocker(['run', '-d', '--name', 'kept', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['commit', 'kept', 'kept:1']),
    check: async daemon => {
      await until('it runs on', async () => (await inspected(daemon, 'kept'))?.State.Status === 'running')
      await daemon.mustDocker(['commit', 'kept', 'kept:1'])
      await daemon.mustDocker(['rmi', 'kept:1'])
      await isWholeOrAbsent(daemon, 'kept')
    },
  },
  {
    name: 'rename',
    points: ['rename.reserved', 'rename.saved'],
    prepare: daemon => daemon.mustDocker(['create', '--name', 'old', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['rename', 'old', 'new']),
    check: async (daemon, { told, point }) => {
      const renamed = told || point === 'rename.saved'
      assert.equal((await inspected(daemon, 'new')) !== undefined, renamed)
      assert.equal((await inspected(daemon, 'old')) !== undefined, !renamed)
      for (const name of ['old', 'new']) await isWholeOrAbsent(daemon, name)
    },
  },
  {
    name: 'update',
    points: ['update.applied', 'update.saved'],
    prepare: daemon => daemon.mustDocker(['run', '-d', '--name', 'sized', ...everything, ...sleeper]),
    run: daemon => daemon.docker(['update', '-m', '64m', '--memory-swap', '64m', 'sized']),
    check: async (daemon, { told, point }) => {
      const done = told || point === 'update.saved'
      assert.equal((await inspected(daemon, 'sized'))?.HostConfig.Memory, done ? 64 << 20 : 0)
      await isWholeOrAbsent(daemon, 'sized')
    },
  },
  {
    name: 'tag',
    points: ['image.tagged'],
    run: daemon => daemon.docker(['tag', 'busybox', 'other:name']),
    check: daemon => daemon.mustDocker(['rmi', 'other:name']).then(() => {}),
  },
  {
    name: 'untag',
    points: ['image.forgotten'],
    prepare: daemon => daemon.mustDocker(['tag', 'busybox', 'other:name']),
    run: daemon => daemon.docker(['rmi', 'other:name']),
    check: async daemon => {
      assert.equal((await daemon.docker(['image', 'inspect', 'other:name'])).code, 1)
      await daemon.mustDocker(['image', 'inspect', 'busybox'])
    },
  },
]

const imageRuns = async (daemon: TestDaemon): Promise<void> => {
  await daemon.loadBusybox()
  assert.equal(await daemon.mustDocker(['run', '--rm', 'busybox', 'echo', 'whole']), 'whole')
}

const removeImage = async (daemon: TestDaemon): Promise<void> => {
  if ((await daemon.docker(['image', 'inspect', 'busybox'])).code === 0)
    await daemon.mustDocker(['rmi', 'busybox'])
}

const imageVerbs: Verb[] = [
  {
    name: 'load',
    points: [
      ...['blob.before-sync', 'blob.before-rename', 'blob.before-directory-sync', 'blob.after', 'load.file'],
      ...['layers.unpacked', 'layers.before-rename', 'layers.renamed', 'layers.synced', 'load.unpacked'],
      'load.recorded',
    ],
    prepare: removeImage,
    run: async daemon => daemon.docker(['load', '-q', '-i', await busyboxArchive()]),
    check: async (daemon, { told, point }) => {
      const there = (await daemon.docker(['image', 'inspect', 'busybox'])).code === 0
      // The layers reach the disk behind the answer, or before.
      if (point !== 'layers.synced') assert.equal(there, told || point === 'load.recorded')
      else if (told) assert.ok(there)
      await imageRuns(daemon)
    },
  },
  {
    name: 'rmi',
    points: ['image.forgotten', 'blob.removed', 'collect.blob', 'collect.layer'],
    prepare: daemon => daemon.loadBusybox(),
    run: daemon => daemon.docker(['rmi', 'busybox']),
    check: async daemon => {
      assert.equal((await daemon.docker(['image', 'inspect', 'busybox'])).code, 1)
      await imageRuns(daemon)
    },
  },
]

export const verbGroups: [string, Verb[]][] = [
  ['create, start, run', lifeVerbs],
  ['end, stop, kill, rm', endVerbs],
  ['exec, rename, update, tag', smallVerbs],
  ['load, rmi', imageVerbs],
  ['pull', pullVerbs],
  ['push', pushVerbs],
  ['images of several platforms', platformVerbs],
  ['check and clean-up of the store', storeVerbs],
  ['network create, rm, connect, disconnect', networkVerbs],
  ['many ports, lost rules', portVerbs],
  ['logs past their budget', logVerbs],
  ['delivery of logs', deliveryVerbs],
  ['volume create, rm, prune, filling, mounting', volumeVerbs],
  ['volumes of plugins', volumePluginVerbs],
  ['mounts made before a start', mountVerbs],
  ['containers in user namespaces', userNamespaceVerbs],
  ['build', buildVerbs],
  ['records of builds', buildHistoryVerbs],
  ['containers of builds', buildContainerVerbs],
]

/** Those whose daemon gives containers user namespaces. */
export const remappingGroups: ReadonlySet<string> = new Set(['containers in user namespaces'])
