import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { importDebianImages } from './harness/debianImages.ts'
import { projectRoot } from './harness/images.ts'
import { page } from './harness/reach.ts'
import { patience, until } from './harness/shell.ts'

/** The real `docker compose` on a project of three services, two networks and a volume. */
let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon({})
  await importDebianImages(daemon, ['postgres', 'redis', 'pages'])
})
after(() => daemon.close())

const file = path.join(projectRoot, 'tests/stories/guest-book.yaml')
const docker = (...words: string[]): Promise<string> => daemon.mustDocker(words)
const compose = (...words: string[]): Promise<string> => docker('compose', '-f', file, ...words)
const asked = (where: string, body?: string): Promise<string | undefined> =>
  page(daemon.namespace, {
    ...{ host: '127.0.0.1', port: 8080, patience: 30_000 * patience, path: where },
    ...(body === undefined ? {} : { body }),
  })
const ids = async (): Promise<string[]> => (await compose('ps', '-q')).split('\n').sort()

/** Volumes of the project; those of an image without a name stay after `down`, as with Docker. */
const named = (): Promise<string> => docker('volume', 'ls', '-q', '--filter', 'name=guestbook')

interface Row {
  Service: string
  State: string
  Health: string
  Publishers: { PublishedPort: number; TargetPort: number }[]
}

const rows = async (): Promise<Row[]> =>
  (await compose('ps', '--format', 'json')).split('\n').map(line => JSON.parse(line) as Row)

test('up makes networks, volume and services in their order, and waits until they are well', async () => {
  await compose('up', '-d', '--wait')
  const shown = (await rows()).toSorted((a, b) => (a.Service < b.Service ? -1 : 1))
  assert.deepEqual(
    shown.map(({ Service, State, Health }) => [Service, State, Health]),
    [
      ['counter', 'running', ''],
      ['db', 'running', 'healthy'],
      ['web', 'running', 'healthy'],
    ],
  )
  assert.ok(shown[2]?.Publishers.some(port => port.PublishedPort === 8080 && port.TargetPort === 3000))
  assert.match((await asked('/')) ?? '', /^visit 1 to /)
  assert.equal(await asked('/entries', 'by compose'), 'written')
  assert.equal(await docker('network', 'inspect', '-f', '{{.Internal}}', 'guestbook_back'), 'true')
  assert.equal(await named(), 'guestbook_entries')
})

test('up again changes nothing', async () => {
  const before = await ids()
  const since = String(Date.now() / 1000)
  await compose('up', '-d', '--wait')
  assert.deepEqual(await ids(), before)
  const until = String(Math.ceil(Date.now() / 1000) + 1)
  const events = await docker(
    'events',
    '--since',
    since,
    '--until',
    until,
    '--format',
    '{{.Type}} {{.Action}}',
  )
  const changes = events.split('\n').filter(line => line !== '' && !/ (exec_|health_status)/.test(line))
  assert.deepEqual(changes, [])
})

test('logs, exec, top, port, cp and run', async () => {
  assert.match(await compose('logs', '--no-color', 'web'), /web-1\s+\| ready/)
  assert.match(await compose('logs', '--no-log-prefix', 'db'), /ready to accept connections/)
  assert.equal(await compose('exec', '-T', 'web', 'node', '-p', '6 * 7'), '42')
  assert.match(await compose('top', 'counter'), /redis-server/)
  assert.equal(await compose('port', 'web', '3000'), '0.0.0.0:8080')
  const copy = path.join(daemon.base, 'pages.mjs')
  await compose('cp', 'web:/app/pages.mjs', copy)
  assert.equal(await compose('run', '--rm', '-T', 'counter', 'redis-cli', '-h', 'counter', 'ping'), 'PONG')
})

test('restart keeps containers and comes back', async () => {
  const before = await ids()
  await compose('restart', 'counter', 'web')
  assert.deepEqual(await ids(), before)
  assert.match((await until('the page answered again', () => asked('/'))) ?? '', /^visit 1 to |^visit 2 to /)
})

test('scale adds and takes away, and the name of the service leads to all', async () => {
  await compose('up', '-d', '--wait', '--scale', 'counter=3', '--no-recreate')
  const counters = (await rows()).filter(({ Service }) => Service === 'counter')
  assert.equal(counters.length, 3)
  const found = await compose(
    'exec',
    '-T',
    'web',
    'node',
    '-e',
    'require("dns").resolve4("counter",(e,a)=>console.log(a.length))',
  )
  assert.equal(found, '3')
  await compose('up', '-d', '--wait', '--scale', 'counter=1', '--no-recreate')
  assert.equal((await rows()).filter(({ Service }) => Service === 'counter').length, 1)
})

test('a change of one service makes that one anew', async () => {
  const idOf = (service: string): Promise<string> => compose('ps', '-q', service)
  const [web, db] = [await idOf('web'), await idOf('db')]
  await daemon.docker(['compose', '-f', file, '-f', '-', 'up', '-d', '--wait'], {
    input: 'services: {web: {environment: {COLOUR: red}}}\n',
  })
  assert.notEqual(await idOf('web'), web)
  assert.equal(await idOf('db'), db)
  assert.equal(await compose('exec', '-T', 'web', 'node', '-p', 'process.env.COLOUR'), 'red')
  assert.equal(await asked('/entries'), 'by compose')
})

test('the project survives the death of the daemon', async () => {
  await daemon.restart()
  assert.equal(await asked('/entries'), 'by compose')
  await compose('up', '-d', '--wait')
})

test('down keeps the volume, and down -v takes it away', async () => {
  await compose('down')
  assert.equal(await docker('ps', '-aq'), '')
  assert.deepEqual((await docker('network', 'ls', '--format', '{{.Name}}')).split('\n').sort(), [
    'bridge',
    'host',
    'none',
  ])
  await compose('up', '-d', '--wait')
  assert.equal(await asked('/entries'), 'by compose')
  await compose('down', '-v')
  assert.equal(await named(), '')
})
