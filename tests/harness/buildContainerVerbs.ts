import assert from 'node:assert/strict'
import { messageOf } from '../../src/core/errors.ts'
import { MountType } from '../../src/wire/buildkit/ops_pb.ts'
import type { TestDaemon } from './daemon.ts'
import { leadBuild } from './leadBuild.ts'
import type { Outcome } from './shell.ts'
import type { Verb } from './verbs.ts'

/** Containers in what a build made, for the crash tests: whatever they are at when the daemon dies, nothing of them stays. */

let count = 0

/** Two processes in a container with mounts of every kind that there is on a host. */
const lookAround = async (daemon: TestDaemon): Promise<void> => {
  await using build = await leadBuild(daemon)
  const resultId = await build.image('busybox')
  await build.container('box', {
    mounts: [
      { dest: '/', resultId },
      { dest: '/part', resultId, selector: 'bin', readonly: true },
      { dest: '/memory', mountType: MountType.TMPFS },
      { dest: '/kept', mountType: MountType.CACHE, cacheOpt: { id: `of containers ${count}` } },
    ],
  })
  build.read()
  const first = build.start('box', ['/bin/sh', '-c', 'echo ready >/kept/file; read line'])
  const { stdout } = await build.run('box', 'while ! cat /kept/file; do :; done; ls /part/sh')
  assert.equal(stdout, 'ready\n/part/sh\n')
  first.endInput()
  await first.done()
  await build.release('box')
  await build.end()
}

const run = async (daemon: TestDaemon): Promise<Outcome> => {
  try {
    await lookAround(daemon)
    return { code: 0, stdout: '', stderr: '' }
  } catch (error) {
    return { code: 1, stdout: '', stderr: messageOf(error) }
  }
}

export const buildContainerVerbs: Verb[] = [
  {
    name: 'container of a build',
    points: [
      ...['cache-mount.filled', 'snapshots.prepared', 'snapshots.mounted'],
      ...['build-container.mounted', 'build-container.connected', 'build-container.started'],
      ...['build-container.entered', 'build-container.ended'],
    ],
    prepare: async () => void count++,
    run,
    check: async daemon => assert.deepEqual(await run(daemon), { code: 0, stdout: '', stderr: '' }),
  },
]
