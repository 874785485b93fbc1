import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

/** The clean-up of stopped containers, and of networks and volumes that nobody uses. */

let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

interface Shown {
  Type: string
  Name: string
  Bytes: number
  Why: string
}

interface Answer {
  Plan: string
  Remove: Shown[]
  Keep: Shown[]
  Removed: Shown[]
  Skipped: Shown[]
  Bytes: number
}

const cleanUp = (query: string, rules?: object): Promise<Answer> =>
  daemon.json('POST', `/berth/v1/clean-up?${query}`, rules)

const named = (list: Shown[]): string[] => list.map(({ Type, Name }) => `${Type} ${Name}`).sort()

const make = async (prefix: string): Promise<void> => {
  await daemon.mustDocker(['network', 'create', `${prefix}net`])
  await daemon.mustDocker(['volume', 'create', `${prefix}vol`])
  const common = ['--network', `${prefix}net`, '-v', `${prefix}vol:/v`]
  await daemon.mustDocker(['run', '--name', `${prefix}done`, ...common, 'busybox', 'sh', '-c', 'echo x > /f'])
  await daemon.mustDocker(['run', '-d', '--name', `${prefix}runs`, ...common, 'busybox', 'sleep', '1000'])
}

const everything = {
  containers: { 'max-age': '0s' },
  networks: { 'max-age': '0s' },
  volumes: { 'max-age': '0s', named: true },
}

test('what is in use stays, what is not goes as planned, and nothing is planned twice', async () => {
  await make('a')
  await daemon.mustDocker(['volume', 'create', 'alone'])
  const anonymous = await daemon.mustDocker(['volume', 'create'])
  await daemon.mustDocker(['network', 'create', '--label', 'keep=1', 'kept'])
  const rules = { ...everything, networks: { 'max-age': '0s', keep: ['label=keep'] } }
  const plan = await cleanUp('dry-run=1', rules)
  assert.deepEqual(named(plan.Remove), ['container adone', 'volume alone', `volume ${anonymous}`].sort())
  assert.deepEqual(named(plan.Keep), ['network kept'])
  assert.equal(plan.Keep[0]?.Why, 'kept by label=keep')
  assert.equal((await daemon.docker(['inspect', 'adone'])).code, 0)
  const done = await cleanUp(`plan=${plan.Plan}`, rules)
  assert.deepEqual(named(done.Removed), named(plan.Remove))
  assert.equal((await daemon.docker(['inspect', 'adone'])).code, 1)
  const again = await daemon.api('POST', `/berth/v1/clean-up?plan=${plan.Plan}`, rules)
  assert.equal(again.status, 409)
  assert.match(again.text, /would be another one now/)
  await daemon.mustDocker(['rm', '-f', 'aruns'])
  assert.deepEqual(named((await cleanUp('', rules)).Removed), ['network anet', 'volume avol'])
})

test('volumes with names stay unless the rules say otherwise, and ages count from the last container', async () => {
  await make('b')
  await daemon.mustDocker(['rm', '-f', 'bdone', 'bruns'])
  await daemon.restart()
  const young = await cleanUp('dry-run=1', {
    networks: { 'max-age': '1h' },
    volumes: { 'max-age': '1h', named: true },
  })
  assert.deepEqual(named(young.Keep), ['network bnet', 'network kept', 'volume bvol'])
  const { Remove } = await cleanUp('dry-run=1', { volumes: { 'max-age': '0s' } })
  assert.deepEqual(Remove, [])
  assert.deepEqual(named((await cleanUp('', everything)).Removed), [
    'network bnet',
    'network kept',
    'volume bvol',
  ])
})

test('a limit of size takes the oldest', async () => {
  const fill = (name: string, kib: number) =>
    daemon.mustDocker([
      'run',
      '--name',
      name,
      'busybox',
      'dd',
      'if=/dev/zero',
      'of=/f',
      'bs=1024',
      `count=${kib}`,
    ])
  await fill('first', 300)
  await fill('second', 300)
  const { Removed, Bytes } = await cleanUp('', { containers: { 'max-size': '400k' } })
  assert.deepEqual(named(Removed), ['container first'])
  assert.ok(Bytes >= 300 * 1024)
  assert.match(Removed[0]?.Why ?? '', /^unused containers take 600 KiB, more than max-size 400 KiB$/)
  await daemon.mustDocker(['rm', 'second'])
})

test('by daemon.json it goes by itself, and a reload turns it on and off', async () => {
  const configure = async (rules: object): Promise<void> => {
    const reloads = daemon.log.split('configuration reloaded').length
    writeFileSync(path.join(daemon.base, 'daemon.json'), JSON.stringify({ 'clean-up': rules }))
    process.kill(daemon.pid, 'SIGHUP')
    await until('the reload', () => daemon.log.split('configuration reloaded').length > reloads)
  }
  await daemon.mustDocker(['run', '--name', 'old', 'busybox', 'true'])
  await configure({ containers: { 'max-age': '1s' }, interval: '10s' })
  await until('the clean-up', async () => (await daemon.docker(['inspect', 'old'])).code === 1)
  assert.match(daemon.log, /the clean-up removed the container old/)
  await configure({})
  const { status, text } = await daemon.api('POST', '/berth/v1/clean-up')
  assert.equal(status, 400)
  assert.match(text, /no rule is set/)
})

test('wrong rules of the daemon are an error at its start', async () => {
  const config = path.join(daemon.base, 'wrong.json')
  writeFileSync(config, '{"clean-up": {"volumes": {"max-age": "soon"}}}')
  const { code, stderr } = await daemon.onHost(['bin/berthd', '--validate', '--config-file', config])
  assert.equal(code, 1)
  assert.match(stderr, /invalid value "soon" for clean-up: volumes: max-age: want a duration as 720h or 90m/)
})
