import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { ImageRegistry } from './imageRegistry.ts'
import { type Outcome, until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of pulls, for the crash tests. */

/** With a layer that is unpacked while it comes in. */
const image = { repository: 'box', tag: '1', which: 'pulled', bytes: 5 << 20 }

const storedFiles = (daemon: TestDaemon, folder: string): string[] =>
  readdirSync(path.join(daemon.dataRoot, folder)).sort()

/** What was there before, and the name under which the dying daemon pulled. */
const seen = new WeakMap<TestDaemon, { blobs: string[]; layers: string[]; name: string }>()

/** From a registry that is there for this pull only. */
const pull = async (daemon: TestDaemon): Promise<Outcome> => {
  await using registry = await ImageRegistry.start(daemon.namespace)
  await registry.serve(image)
  const name = `${registry.address}/box:1`
  seen.set(daemon, {
    blobs: storedFiles(daemon, 'blobs/sha256'),
    layers: storedFiles(daemon, 'layers'),
    name,
  })
  return await daemon.docker(['pull', name])
}

/** Points after which every layer is here. */
const fetchedPoints = ['pull.stored', 'pull.unpacked', 'pull.recorded']

/** It is pulled again, for what is missing only, runs, and leaves nothing when it is removed. */
const pullsAgain = async (daemon: TestDaemon, point: string): Promise<void> => {
  await using registry = await ImageRegistry.start(daemon.namespace)
  const { layers } = await registry.serve(image)
  const name = `${registry.address}/box:1`
  await daemon.mustDocker(['pull', name])
  const asked = await registry.seen()
  if (fetchedPoints.includes(point))
    for (const digest of layers) assert.ok(!asked.some(line => line.includes(digest)), asked.join('\n'))
  assert.equal(await daemon.mustDocker(['run', '--rm', name, 'cat', '/which']), 'pulled')
  await daemon.mustDocker(['rmi', '-f', await daemon.mustDocker(['images', '-q', name])])
}

export const pullVerbs: Verb[] = [
  {
    name: 'pull',
    points: [
      ...['partial.appended', 'pull.noted', 'blob.before-sync', 'blob.before-rename', 'blob.after'],
      ...['pull.fetched', 'pull.stored', 'layers.renamed', 'pull.unpacked', 'pull.recorded'],
    ],
    run: pull,
    check: async (daemon, { told, point }) => {
      const before = seen.get(daemon)
      assert.ok(before)
      const there = (await daemon.docker(['image', 'inspect', before.name])).code === 0
      assert.equal(there, told || point === 'pull.recorded')
      await pullsAgain(daemon, point)
      await until('nothing is left over', () => {
        assert.deepEqual(storedFiles(daemon, 'blobs/sha256'), before.blobs)
        return storedFiles(daemon, 'layers').join() === before.layers.join()
      })
    },
  },
]
