import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { importDebianImages } from './harness/debianImages.ts'
import { page } from './harness/reach.ts'
import { patience, until } from './harness/shell.ts'

/** A web service, its database on a named volume and its counter, as somebody lives with them. */
let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon({})
  await importDebianImages(daemon, ['postgres', 'redis', 'pages'])
})
after(() => daemon.close())

const docker = (...words: string[]): Promise<string> => daemon.mustDocker(words)
const asked = (path: string, body?: string): Promise<string | undefined> =>
  page(daemon.namespace, {
    ...{ host: '127.0.0.1', port: 8080, patience: 30_000 * patience, path },
    ...(body === undefined ? {} : { body }),
  })
const health = (name: string): Promise<string> => docker('inspect', '-f', '{{.State.Health.Status}}', name)
const whenHealthy = (name: string): Promise<unknown> =>
  until(`${name} was healthy`, async () => (await health(name)) === 'healthy', 60_000)

const runDatabase = (): Promise<string> =>
  docker(
    ...['run', '-d', '--name', 'db', '--network', 'guests', '-v', 'entries:/var/lib/postgresql/data'],
    ...['--restart', 'always', '--health-cmd', 'docker-entrypoint.sh ready', '--health-interval', '500ms'],
    'postgres',
  )

test('a page, a database and a counter find one another by name, behind one published port', async () => {
  await docker('network', 'create', 'guests')
  await runDatabase()
  await docker('run', '-d', '--name', 'counter', '--network', 'guests', '--restart', 'always', 'redis')
  await whenHealthy('db')
  await docker(
    ...['run', '-d', '--name', 'web', '--network', 'guests', '-p', '8080:3000', '--restart', 'on-failure'],
    ...['--health-cmd', 'wget -qO- http://127.0.0.1:3000/health', '--health-interval', '500ms', 'pages'],
  )
  await whenHealthy('web')
  assert.match((await asked('/')) ?? '', /^visit 1 to /)
  assert.equal(await asked('/entries', 'the first'), 'written')
  assert.equal(await asked('/entries'), 'the first')
  assert.equal(
    await docker('exec', 'db', 'stat', '-c', '%u %a', '/var/lib/postgresql/data'),
    '999 700',
    'the volume has the owner and mode of the image’s directory',
  )
})

test('what was written is there after the database was removed and runs anew on its volume', async () => {
  await docker('rm', '-f', '-v', 'db')
  assert.equal(await docker('volume', 'ls', '-q', '--filter', 'name=entries'), 'entries')
  await runDatabase()
  await whenHealthy('db')
  assert.equal(await until('the page found the database again', () => asked('/entries')), 'the first')
})

test('a counter that crashes comes back by its restart policy, and the page goes on', async () => {
  const before = await docker('inspect', '-f', '{{.State.StartedAt}}', 'counter')
  await docker('exec', 'counter', 'redis-cli', 'set', 'visits', '41')
  await docker('exec', 'counter', 'redis-cli', 'save')
  await daemon.docker(['exec', 'counter', 'sh', '-c', 'kill -9 1; redis-cli shutdown'])
  await until('it ran again', async () => {
    const now = await docker('inspect', '-f', '{{.State.Running}} {{.State.StartedAt}}', 'counter')
    return now.startsWith('true') && !now.endsWith(before)
  })
  assert.match((await until('the page counted on', () => asked('/'))) ?? '', /^visit 42 to /)
})

test('no request fails while only the daemon is gone, and nothing that was written is lost', async () => {
  let going = true
  const written: string[] = []
  const failed: string[] = []
  const traffic = async (who: number): Promise<void> => {
    for (let count = 0; going; count++) {
      const text = `entry ${who}.${count}`
      if ((await asked('/entries', text)) === 'written') written.push(text)
      else failed.push(text)
      if ((await asked('/')) === undefined) failed.push(`visit ${who}.${count}`)
    }
  }
  const guests = [1, 2, 3].map(traffic)
  const some = (): Promise<unknown> => {
    const from = written.length
    return until('guests went on writing', () => written.length > from + 20)
  }
  await some()
  await daemon.kill()
  await some()
  await sleep(500)
  await daemon.start()
  await some()
  going = false
  await Promise.all(guests)
  assert.deepEqual(failed, [])
  const kept = new Set((await asked('/entries'))?.split('\n'))
  assert.deepEqual(
    written.filter(text => !kept.has(text)),
    [],
  )
  await whenHealthy('web')
})
