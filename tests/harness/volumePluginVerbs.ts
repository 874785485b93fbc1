import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { until } from './shell.ts'
import type { Verb } from './verbs.ts'
import { VolumePlugin } from './volumePlugin.ts'

/** The verbs of volumes that a plugin keeps: the daemon dies, the plugin lives. */

const plugins = new WeakMap<TestDaemon, VolumePlugin>()
const pluginOf = (daemon: TestDaemon): VolumePlugin => plugins.get(daemon) ?? assert.fail('no plugin runs')

const startPlugin = async (daemon: TestDaemon): Promise<VolumePlugin> => {
  const plugin = await VolumePlugin.start(daemon.plugins, 'store')
  plugins.set(daemon, plugin)
  return plugin
}

const make = ['volume', 'create', '-d', 'store', 'far']
const run = ['run', '-d', '--name', 'user', '-v', 'far:/v:nocopy', 'busybox', 'sleep', '1000']

const names = (daemon: TestDaemon): Promise<string> => daemon.mustDocker(['volume', 'ls', '-q'])

/** It can be made where it is not, used and removed; nothing is left anywhere. */
const isUsable = async (daemon: TestDaemon): Promise<void> => {
  const plugin = pluginOf(daemon)
  await until('nobody has it mounted', () => plugin.mounted.length === 0)
  await daemon.mustDocker(make)
  await daemon.mustDocker(['run', '--rm', '-v', 'far:/v:nocopy', 'busybox', 'touch', '/v/file'])
  assert.ok(existsSync(path.join(plugin.path('far'), 'file')))
  await daemon.mustDocker(['volume', 'rm', 'far'])
  assert.deepEqual([await names(daemon), plugin.volumes.size, plugin.mounted], ['', 0, []])
  assert.deepEqual(readdirSync(path.join(daemon.execRoot, 'volume-uses')), [])
  await plugin[Symbol.asyncDispose]()
}

const withVolume = async (daemon: TestDaemon): Promise<void> => {
  await startPlugin(daemon)
  await daemon.mustDocker(make)
}

export const volumePluginVerbs: Verb[] = [
  {
    name: "create of a plugin's volume",
    points: ['volume.plugin.created', 'volume.create.recorded'],
    prepare: startPlugin,
    run: daemon => daemon.docker(make),
    check: async daemon => {
      assert.equal(await names(daemon), 'far')
      await isUsable(daemon)
    },
  },
  {
    name: "rm of a plugin's volume",
    points: ['volume.plugin.removed'],
    prepare: withVolume,
    run: daemon => daemon.docker(['volume', 'rm', 'far']),
    check: async daemon => {
      assert.equal(await names(daemon), '')
      await isUsable(daemon)
    },
  },
  {
    name: "start with a plugin's volume",
    points: ['volume.plugin.noted', 'volume.plugin.mounted', 'start.volumes', 'start.started'],
    prepare: withVolume,
    run: daemon => daemon.docker(run),
    check: async (daemon, { point }) => {
      const uses = point === 'start.started' ? 1 : 0
      await until('only who runs has it mounted', () => pluginOf(daemon).mounted.length === uses)
      await daemon.mustDocker(['start', 'user'])
      await daemon.mustDocker(['rm', '-f', 'user'])
      await isUsable(daemon)
    },
  },
  {
    name: "stop with a plugin's volume",
    points: ['exit.saved', 'volume.plugin.unmounted'],
    prepare: async daemon => {
      await withVolume(daemon)
      await daemon.mustDocker(run)
    },
    run: daemon => daemon.docker(['stop', '-t', '0', 'user']),
    check: async daemon => {
      await until('nobody has it mounted', () => pluginOf(daemon).mounted.length === 0)
      await daemon.mustDocker(['start', 'user'])
      await daemon.mustDocker(['exec', 'user', 'touch', '/v/file'])
      await daemon.mustDocker(['rm', '-f', 'user'])
      await isUsable(daemon)
    },
  },
]
