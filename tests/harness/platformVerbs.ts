import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { ociArchive, PlatformRegistry, platformImages } from './platformImages.ts'
import { type Outcome, until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of images of several platforms, for the crash tests. */

const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
const architectures = ['s390x', own]

const storedBlobs = (daemon: TestDaemon): string[] =>
  readdirSync(path.join(daemon.dataRoot, 'blobs/sha256')).sort()

/** What was there before, and the name that was pulled. */
const seen = new WeakMap<TestDaemon, { blobs: string[]; name: string }>()

const pull = async (daemon: TestDaemon, platforms: readonly string[]): Promise<Outcome> => {
  await using registry = await PlatformRegistry.start(daemon.namespace)
  await registry.serve('platforms', '1', await platformImages(architectures, 'crash'))
  const name = `${registry.address}/platforms:1`
  seen.set(daemon, { blobs: seen.get(daemon)?.blobs ?? storedBlobs(daemon), name })
  let outcome: Outcome = { code: 0, stdout: '', stderr: '' }
  for (const platform of platforms)
    outcome = await daemon.docker(['pull', '--platform', `linux/${platform}`, name])
  return outcome
}

const platformOf = (architecture: string): string =>
  encodeURIComponent(JSON.stringify({ os: 'linux', architecture }))

const removePlatform = async (daemon: TestDaemon): Promise<Outcome> => {
  const url = `/v1.55/images/${seen.get(daemon)?.name}?force=1&platforms=${platformOf(own)}`
  const { status, text } = await daemon
    .api('DELETE', url)
    .catch((error: Error) => ({ status: 500, text: error.message }))
  return { code: status === 200 ? 0 : 1, stdout: text, stderr: '' }
}

/** What is there is whole, and nothing is left when it is gone. */
const leavesNothing = async (daemon: TestDaemon): Promise<void> => {
  const before = seen.get(daemon)
  assert.ok(before)
  await pull(daemon, [own])
  assert.equal(
    await daemon.mustDocker([
      'run',
      '--rm',
      '--platform',
      `linux/${own}`,
      seen.get(daemon)?.name ?? '',
      'cat',
      '/which',
    ]),
    `crash ${own}`,
  )
  const ids = await daemon.mustDocker(['images', '-q', '--no-trunc', '-f', 'label=which=crash'])
  for (const id of new Set(ids.split('\n'))) await daemon.mustDocker(['rmi', '-f', id])
  await until('nothing is left over', () => storedBlobs(daemon).join() === before.blobs.join())
  seen.delete(daemon)
}

const load = async (daemon: TestDaemon): Promise<Outcome> => {
  seen.set(daemon, { blobs: storedBlobs(daemon), name: 'platforms:1' })
  const archive = await ociArchive(
    await platformImages(architectures, 'crash'),
    'docker.io/library/platforms:1',
  )
  return await daemon.docker(['load'], { input: archive })
}

export const platformVerbs: Verb[] = [
  {
    name: 'load of several platforms',
    points: ['load.blob', 'load.unpacked', 'load.recorded'],
    run: load,
    check: async (daemon, { told, point }) => {
      const listed = await daemon.api('GET', '/v1.55/images/platforms:1/json?manifests=1')
      assert.equal(listed.status === 200, told || point === 'load.recorded')
      if (listed.status === 200) {
        const { Manifests } = JSON.parse(listed.text) as { Manifests: { Available: boolean }[] }
        assert.ok(Manifests.every(({ Available }) => Available))
      }
      await leavesNothing(daemon)
    },
  },
  {
    name: 'pull of an image with attestations',
    points: ['pull.attestation', 'pull.stored', 'pull.recorded'],
    run: daemon => pull(daemon, [own]),
    check: leavesNothing,
  },
  {
    name: 'removal of one platform',
    points: ['image.forgotten', 'collect.blob'],
    prepare: daemon => pull(daemon, architectures),
    run: removePlatform,
    check: async daemon => {
      const url = `/v1.55/images/${seen.get(daemon)?.name}/json?platform=`
      assert.equal((await daemon.api('GET', `${url}${platformOf(own)}`)).status, 404)
      assert.equal((await daemon.api('GET', `${url}${platformOf('s390x')}`)).status, 200)
      await leavesNothing(daemon)
    },
  },
]
