import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import type { Outcome } from './shell.ts'
import { blobPath, check, flip, isClean, layerWith } from './storeHealth.ts'
import type { Verb } from './verbs.ts'

/** The verbs of a check that mends, and of the clean-up, for the crash tests. */

const mend = async (daemon: TestDaemon): Promise<Outcome> => {
  try {
    const { summary, error = '' } = await check(daemon, 'repair=local')
    return { code: summary ? 0 : 1, stdout: '', stderr: error }
  } catch (error) {
    return { code: 1, stdout: '', stderr: String(error) }
  }
}

const damageLayer = async (daemon: TestDaemon): Promise<void> => {
  await daemon.loadBusybox()
  writeFileSync(path.join(layerWith(daemon, 'etc/passwd'), 'diff/etc/passwd'), 'nobody\n')
}

const users = async (daemon: TestDaemon, container: string): Promise<string> =>
  (await daemon.mustDocker(['exec', container, 'cat', '/etc/passwd'])).split('\n')[0] ?? ''

const running = ['run', '-d', '--name', 'goes-on', 'busybox', 'sleep', '1000']

/** A second check finishes what the first did not. */
const isMended = async (daemon: TestDaemon): Promise<void> => {
  await check(daemon, 'repair=local')
  await isClean(daemon)
  const first = await daemon.mustDocker(['run', '--rm', 'busybox', 'head', '-1', '/etc/passwd'])
  assert.equal(first, 'root:x:0:0:root:/root:/bin/sh')
}

const configOf = (daemon: TestDaemon): Promise<string> =>
  daemon.mustDocker(['image', 'inspect', '-f', '{{.Id}}', 'busybox'])

const posted = async (daemon: TestDaemon, path: string, body?: object): Promise<Outcome> => {
  try {
    const { status, text } = await daemon.api('POST', path, body)
    return { code: status === 200 ? 0 : 1, stdout: text, stderr: '' }
  } catch (error) {
    return { code: 1, stdout: '', stderr: String(error) }
  }
}

const unusedRules = {
  containers: { 'max-age': '0s' },
  networks: { 'max-age': '0s' },
  volumes: { 'max-age': '0s', named: true },
}

export const storeVerbs: Verb[] = [
  {
    name: 'clean-up of images',
    points: ['image.forgotten', 'collect.blob', 'clean-up.removed'],
    prepare: daemon => daemon.loadBusybox(),
    run: daemon => posted(daemon, '/berth/v1/images/clean-up?max-age=0s'),
    check: async daemon => {
      assert.equal(await daemon.mustDocker(['images', '-aq']), '')
      await daemon.loadBusybox()
      await isClean(daemon)
    },
  },
  {
    name: 'clean-up of unused objects',
    points: ['clean-up.one'],
    prepare: async daemon => {
      await daemon.loadBusybox()
      await daemon.mustDocker(running)
      await daemon.mustDocker(['run', '--name', 'ended', 'busybox', 'true'])
      await daemon.mustDocker(['network', 'create', 'unused'])
      await daemon.mustDocker(['volume', 'create', 'unused'])
    },
    run: daemon => posted(daemon, '/berth/v1/clean-up', unusedRules),
    check: async daemon => {
      await posted(daemon, '/berth/v1/clean-up', unusedRules)
      assert.equal(await daemon.mustDocker(['ps', '-a', '--format', '{{.Names}}']), 'goes-on')
      assert.equal((await daemon.docker(['network', 'inspect', 'unused'])).code, 1)
      assert.equal(await daemon.mustDocker(['volume', 'ls', '-q']), '')
    },
  },
  {
    name: 'check that unpacks a layer again',
    points: ['layers.remade', 'layers.before-exchange', 'layers.exchanged', 'layers.replaced-gone'],
    prepare: damageLayer,
    run: mend,
    check: isMended,
  },
  {
    name: 'check that unpacks a mounted layer again',
    points: ['layers.before-exchange', 'layers.exchanged'],
    prepare: async daemon => {
      await damageLayer(daemon)
      await daemon.mustDocker(running)
    },
    run: mend,
    check: async daemon => {
      assert.equal(await users(daemon, 'goes-on'), 'nobody')
      await isMended(daemon)
      assert.equal(await users(daemon, 'goes-on'), 'nobody')
      await daemon.mustDocker(['rm', '-f', 'goes-on'])
    },
  },
  {
    name: 'rm of the last that had a replaced layer mounted',
    points: ['layers.replaced-gone'],
    prepare: async daemon => {
      await damageLayer(daemon)
      await daemon.mustDocker(running)
      assert.equal((await check(daemon, 'repair=local')).summary?.Repaired, 1)
    },
    run: daemon => daemon.docker(['rm', '-f', 'goes-on']),
    check: isMended,
  },
  {
    name: 'check that puts a blob aside',
    points: ['quarantine.noted', 'quarantine.moved'],
    prepare: async daemon => {
      await daemon.loadBusybox()
      flip(blobPath(daemon, await configOf(daemon)))
    },
    run: mend,
    check: async (daemon, { point }) => {
      const { findings, summary } = await check(daemon, 'repair=local')
      assert.deepEqual(
        findings.map(({ Kind }) => Kind),
        [point === 'quarantine.noted' ? 'blob-damaged' : 'blob-missing'],
      )
      assert.deepEqual(
        summary?.Quarantine.map(({ Digest }) => Digest),
        [await configOf(daemon)],
      )
      await daemon.loadBusybox()
      await isMended(daemon)
      rmSync(path.join(daemon.dataRoot, 'quarantine'), { recursive: true })
    },
  },
]
