import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { parseTime } from '../src/core/clock.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { LogPlugin } from './harness/logPlugin.ts'
import { PluginServer } from './harness/pluginServer.ts'
import { until } from './harness/shell.ts'

/** Logs that plugins take. */

let daemon: TestDaemon
let plugin: LogPlugin

before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  plugin = await LogPlugin.start(daemon.plugins, 'keeper')
})
after(async () => {
  await plugin[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const run = (name: string, script: string, ...options: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, '--log-driver', 'keeper', ...options, 'busybox', 'sh', '-c', script)
const numbers = (count: number): string[] => [...Array(count).keys()].map(n => String(n + 1))
const sessions = (): string[] => {
  try {
    return readdirSync(path.join(daemon.execRoot, 'logging/keeper'))
  } catch {
    return []
  }
}
const reset = async (): Promise<void> => {
  await until('all sessions have ended', () => sessions().length === 0)
  plugin.entries.length = 0
  plugin.server.calls.length = 0
}

test('docker info names the plugins that take logs, and waits for none that hangs', async () => {
  await using hangs = await PluginServer.start({ folder: daemon.plugins, name: 'hangs' }, ['LogDriver'], {})
  hangs.hangsAt.add('Plugin.Activate')
  assert.match(
    await docker('info', '-f', '{{.Plugins.Log}}'),
    /^\[fluentd gelf journald json-file keeper local none syslog\]$/,
  )
  assert.ok(hangs.calls.length > 0)
})

test('a plugin gets each line with its stream and time, and docker logs reads them here', async () => {
  const id = await docker(
    ...['run', '-d', '--name', 'talker', '--log-driver', 'keeper', '--log-opt', 'anything=goes'],
    ...['--label', 'a=b', '-e', 'C=d', 'busybox', 'sh', '-c', 'echo one; echo; echo "zwei ü" >&2; seq 3000'],
  )
  await until('all lines came', () => plugin.lines.length === 3003)
  assert.deepEqual(
    plugin.entries.filter(({ source }) => source === 'stdout').map(({ line }) => line),
    ['one', '', ...numbers(3000)],
  )
  assert.deepEqual(
    plugin.entries.filter(({ source }) => source === 'stderr').map(({ line }) => line),
    ['zwei ü'],
  )
  const shown = await docker('logs', '-t', 'talker')
  const [time = ''] = shown.split(' ', 1)
  assert.equal(plugin.entries.find(({ line }) => line === 'one')?.time, parseTime(time))
  const [{ File, Info }] = plugin.server.asked('LogDriver.StartLogging')
  assert.equal(Info.ContainerID, id)
  assert.equal(Info.ContainerName, '/talker')
  assert.equal(Info.ContainerEntrypoint, 'sh')
  assert.deepEqual(Info.ContainerArgs, ['-c', 'echo one; echo; echo "zwei ü" >&2; seq 3000'])
  assert.deepEqual(Info.Config, { anything: 'goes' })
  assert.equal(Info.ContainerLabels.a, 'b')
  assert.ok(Info.ContainerEnv.includes('C=d'))
  await until('it was told of the end', () => plugin.server.asked('LogDriver.StopLogging').length === 1)
  assert.deepEqual(plugin.server.asked('LogDriver.StopLogging'), [{ File }])
  await docker('rm', 'talker')
  await reset()
})

test('a long line comes in parts that tell their order', async () => {
  await run('long', "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end")
  await until('the last line came', () => plugin.lines.at(-1) === 'end')
  const parts = plugin.entries.slice(0, -1)
  assert.ok(parts.map(({ line }) => line).join('') === 'x'.repeat(40000))
  assert.deepEqual(
    parts.map(({ partial }) => partial?.ordinal),
    parts.map((_, index) => index + 1),
  )
  assert.deepEqual(
    parts.map(({ partial }) => partial?.last),
    parts.map((_, index) => index === parts.length - 1),
  )
  assert.equal(new Set(parts.map(({ partial }) => partial?.id)).size, 1)
  assert.equal(plugin.entries.at(-1)?.partial, undefined)
  await docker('rm', 'long')
  await reset()
})

test('what ends at once and is removed was delivered before', async () => {
  await docker('run', '--rm', '--log-driver', 'keeper', 'busybox', 'seq', '3000')
  await until('the last line came', () => plugin.lines.length === 3000)
  assert.deepEqual(plugin.lines, numbers(3000))
  await reset()
})

test('a dead plugin stops neither container, logs, stop, start nor rm, and gets what it missed', async () => {
  await run('patient', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done')
  await until('lines come', () => plugin.lines.length > 3)
  await plugin.die()
  const count = async (): Promise<number> => (await docker('logs', 'patient')).split('\n').length
  const seen = await count()
  await until('it goes on', async () => (await count()) > seen + 10)
  await docker('restart', '-t', '0', 'patient')
  await docker('stop', '-t', '0', 'patient')
  const all = (await docker('logs', 'patient')).split('\n')
  await plugin.server.revive()
  await until('the rest came', () => plugin.lines.at(-1) === all.at(-1) && plugin.lines.length >= all.length)
  // What was sent just before the death may have come twice.
  const isIn = (line: string, at: number): boolean => plugin.lines.indexOf(line, at) >= 0
  assert.ok(all.every(line => isIn(line, 0)))
  await docker('rm', 'patient')
  await reset()
})

test('a hanging plugin stops neither container nor rm', async () => {
  plugin.server.hangsAt.add('LogDriver.StartLogging')
  await run('stuck', 'seq 1000; exec sleep 1000')
  assert.equal(await docker('logs', '--tail', '1', 'stuck'), '1000')
  await docker('rm', '-f', 'stuck')
  plugin.server.hangsAt.clear()
  await run('full', 'echo 0; sleep 0.5; yes | head -n 300000; echo done; exec sleep 1000')
  await until('it reads', () => plugin.lines.includes('0'))
  plugin.hang()
  await until('all was written', async () => (await docker('logs', '--tail', '1', 'full')) === 'done')
  await docker('rm', '-f', 'full')
  await reset()
})

test('after the death of the daemon a new session goes on where the old one was, and the old one is ended', async () => {
  await run(
    'lasting',
    'echo first; sleep 2; echo meanwhile; while ! test -e /go; do sleep 0.1; done; echo last; exec sleep 1000',
  )
  await until('the first line came', () => plugin.lines.includes('first'))
  const [{ File: old }] = plugin.server.asked('LogDriver.StartLogging')
  await daemon.kill()
  await daemon.start()
  await until('what was missed came', () => plugin.lines.includes('meanwhile'))
  await docker('exec', 'lasting', 'touch', '/go')
  await until('the last line came', () => plugin.lines.at(-1) === 'last')
  assert.deepEqual([...new Set(plugin.lines)], ['first', 'meanwhile', 'last'])
  assert.ok(plugin.server.asked('LogDriver.StopLogging').some(({ File }) => File === old))
  await docker('rm', '-f', 'lasting')
  await reset()
})

test('plugins that are not there, or are none, are refused at create', async () => {
  const refused = async (driver: string): Promise<string> =>
    (await daemon.docker(['create', '--log-driver', driver, 'busybox', 'true'])).stderr
  assert.match(await refused('absent'), /error looking up logging plugin absent: plugin "absent" not found/)
  await using _judge = await PluginServer.start({ folder: daemon.plugins, name: 'judge' }, ['authz'], {})
  assert.match(
    await refused('judge'),
    /error looking up logging plugin judge: legacy plugin: Plugin does not implement the requested driver/,
  )
  assert.equal(await docker('ps', '-aq'), '')
})

test('a plugin can be the default of the daemon', async () => {
  writeFileSync(path.join(daemon.base, 'daemon.json'), JSON.stringify({ 'log-driver': 'keeper' }))
  await daemon.restart()
  await docker('run', '--rm', 'busybox', 'echo', 'by default')
  await until('it came', () => plugin.lines.includes('by default'))
  assert.equal(await docker('info', '-f', '{{.LoggingDriver}}'), 'keeper')
  await reset()
})
