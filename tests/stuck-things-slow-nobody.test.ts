import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { run, until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/** A runtime that never comes back holds up its own container and nothing else, and can be given up. */
const folder = mkdtempSync('/tmp/berth-stuck-')
const runtime = path.join(folder, 'runtime')
let daemon: TestDaemon
before(async () => {
  writeFileSync(runtime, `#!/bin/sh\ntouch ${folder}/called\nsleep 1000\nexit 1\n`)
  chmodSync(runtime, 0o755)
  daemon = await startDaemon({ flags: ['--add-runtime', `stuck=${runtime}`] })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true })
})

const startStuck = async (name: string) => {
  rmSync(path.join(folder, 'called'), { force: true })
  await daemon.mustDocker([
    'create',
    '--name',
    name,
    '--runtime',
    'stuck',
    '-p',
    '8080:80',
    'busybox',
    'true',
  ])
  const starting = daemon.docker(['start', name])
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  return starting.then(outcome => ({ outcome }))
}

const leftSleeping = async (): Promise<string> => (await run(['pgrep', '-f', `^/bin/sh ${runtime}`])).stdout

/** All that others do goes on while a start hangs. */
const othersGoOn = async (stuck: string): Promise<void> => {
  assert.match(await daemon.mustDocker(['ps', '-a', '--format', '{{.Names}}']), new RegExp(stuck))
  assert.equal((await inspected(daemon, stuck))?.State.Status, 'created')
  assert.equal(await daemon.mustDocker(['run', '--rm', 'busybox', 'echo', 'on']), 'on')
  await daemon.mustDocker(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
  assert.equal(await daemon.mustDocker(['exec', 'other', 'echo', 'on']), 'on')
  await daemon.mustDocker(['stop', '-t', '0', 'other'])
  await daemon.mustDocker(['rm', 'other'])
}

test('others go on while a runtime hangs, and rm -f gives the start up', async () => {
  const ending = startStuck('stuck1')
  await until('it is under way', async () => (await inspected(daemon, 'stuck1')) !== undefined)
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  await othersGoOn('stuck1')
  await daemon.mustDocker(['rm', '-f', 'stuck1'])
  const { outcome } = await ending
  assert.equal(outcome.code, 1)
  assert.match(outcome.stderr, /start of container stuck1 was cancelled by its removal/)
  assert.equal(await leftSleeping(), '')
  await audit(daemon)
})

test('kill gives the start up and leaves the container as it was', async () => {
  const ending = startStuck('stuck2')
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  await until('it can be killed', async () => (await daemon.docker(['kill', 'stuck2'])).code === 0)
  const { outcome } = await ending
  assert.equal(outcome.code, 1)
  assert.match(outcome.stderr, /start of container stuck2 was cancelled by a kill/)
  assert.equal((await inspected(daemon, 'stuck2'))?.State.Status, 'created')
  await daemon.mustDocker(['rm', 'stuck2'])
  assert.equal(await leftSleeping(), '')
  await audit(daemon)
})

test('a daemon that starts while a runtime hangs is not held up by it', async () => {
  const ending = startStuck('stuck3')
  await until('the runtime was called', () => existsSync(path.join(folder, 'called')))
  await daemon.kill()
  await daemon.start()
  await ending
  await othersGoOn('stuck3')
  await daemon.mustDocker(['rm', '-f', 'stuck3'])
  assert.equal(await inspected(daemon, 'stuck3'), undefined)
  assert.equal(await leftSleeping(), '')
  await audit(daemon)
})
