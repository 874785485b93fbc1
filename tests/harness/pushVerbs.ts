import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { ImageRegistry } from './imageRegistry.ts'
import { type Outcome, until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of pushes, for the crash tests. */

const storedFiles = (daemon: TestDaemon, folder: string): string[] =>
  readdirSync(path.join(daemon.dataRoot, folder)).sort()

/** What was there before, and the name under which the dying daemon pushed. */
const seen = new WeakMap<TestDaemon, { blobs: string[]; layers: string[]; repository: string }>()

/** An image that was made here: its layer is compressed at its first push. */
const make = async (daemon: TestDaemon): Promise<void> => {
  seen.set(daemon, {
    blobs: storedFiles(daemon, 'blobs/sha256'),
    layers: storedFiles(daemon, 'layers'),
    repository: '',
  })
  const id = await daemon.mustDocker(['create', 'busybox', 'sh', '-c', 'seq 1 50000 >/numbers'])
  await daemon.mustDocker(['start', '-a', id])
  await daemon.mustDocker(['commit', id, 'made:1'])
  await daemon.mustDocker(['rm', id])
}

/** To a registry that is there for this push only. */
const push = async (daemon: TestDaemon): Promise<Outcome> => {
  await using registry = await ImageRegistry.start(daemon.namespace)
  const repository = `${registry.address}/made`
  const before = seen.get(daemon)
  if (before) before.repository = repository
  await daemon.mustDocker(['tag', 'made:1', `${repository}:1`])
  return await daemon.docker(['push', `${repository}:1`])
}

/** Points after which no layer needs to be compressed again. */
const compressedPoints = ['push.prepared', 'push.uploaded', 'push.manifests', 'push.recorded']

/** It is pushed again, and what the registry then has is the image. */
const pushesAgain = async (daemon: TestDaemon, point: string): Promise<void> => {
  await using registry = await ImageRegistry.start(daemon.namespace)
  const repository = `${registry.address}/made`
  await daemon.mustDocker(['tag', 'made:1', `${repository}:1`])
  const { status, text } = await daemon.api('POST', `/images/${repository}/push?tag=1`)
  assert.equal(status, 200, text)
  assert.match(text, /"Digest":"sha256:\w+"/)
  if (compressedPoints.includes(point)) assert.doesNotMatch(text, /"Preparing","progressDetail":\{"current"/)
  await daemon.mustDocker(['rmi', '-f', await daemon.mustDocker(['images', '-q', 'made:1'])])
  await daemon.mustDocker(['pull', `${repository}:1`])
  assert.equal(
    await daemon.mustDocker(['run', '--rm', `${repository}:1`, 'tail', '-n', '1', '/numbers']),
    '50000',
  )
  await daemon.mustDocker(['rmi', '-f', await daemon.mustDocker(['images', '-q', `${repository}:1`])])
}

export const pushVerbs: Verb[] = [
  {
    name: 'push',
    points: ['push.compressed', ...compressedPoints],
    prepare: make,
    run: push,
    check: async (daemon, { told, point }) => {
      const before = seen.get(daemon)
      assert.ok(before)
      const digests = await daemon.mustDocker(['image', 'inspect', '-f', '{{.RepoDigests}}', 'made:1'])
      if (told || point === 'push.recorded') assert.ok(digests.includes(`${before.repository}@sha256:`))
      await pushesAgain(daemon, point)
      await until('nothing is left over', () => {
        assert.deepEqual(storedFiles(daemon, 'blobs/sha256'), before.blobs)
        return storedFiles(daemon, 'layers').join() === before.layers.join()
      })
    },
  },
]
