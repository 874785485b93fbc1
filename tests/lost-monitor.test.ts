import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { after, afterEach, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { monitorsOf } from './harness/monitors.ts'
import { until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/** Monitors and the descriptor store are killed: what they kept is ended or put there again. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
afterEach(async () => {
  const ids = (await daemon.mustDocker(['ps', '-aq'])).split('\n').filter(Boolean)
  if (ids.length) await daemon.mustDocker(['rm', '-f', '-v', ...ids])
  await audit(daemon)
})
after(() => daemon.close())

const run = (name: string, ...options: string[]): Promise<string> =>
  daemon.mustDocker(['run', '-d', '--name', name, ...options, 'busybox', 'sleep', '1000'])

/** Pid of the container's first process. */
const pidOf = async (name: string): Promise<number> =>
  Number(await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', name]))

const monitorOf = (id: string): number => {
  const found = monitorsOf(daemon.execRoot).find(monitor => monitor.id === id)
  assert.ok(found, `the monitor of ${id}`)
  return found.pid
}

const isGone = (pid: number): Promise<boolean> =>
  until(`process ${pid} ended`, () => !existsSync(`/proc/${pid}`))

const status = async (name: string): Promise<string | undefined> =>
  (await inspected(daemon, name))?.State.Status

const startedAt = (name: string): Promise<string> =>
  daemon.mustDocker(['inspect', '-f', '{{.State.StartedAt}}', name])

test('a container whose monitor is killed is ended with 137 and the cause', async () => {
  const id = await run('lost')
  const pid = await pidOf('lost')
  process.kill(monitorOf(id), 'SIGKILL')
  await until('it ended', async () => (await status('lost')) === 'exited')
  await isGone(pid)
  assert.equal((await inspected(daemon, 'lost'))?.State.ExitCode, 137)
  const events = await daemon.mustDocker(
    [
      'events',
      '--since',
      '1h',
      '--until',
      String(Math.ceil(Date.now() / 1000)),
      '--filter',
      'event=die',
      '--filter',
      `container=${id}`,
    ].concat(['--format', '{{json .Actor.Attributes}}']),
  )
  assert.match(events, /"berth\.cause":"daemon","berth\.cause\.detail":"its monitor was lost/)
})

test('its restart policy applies', async () => {
  const id = await run('again', '--restart', 'on-failure')
  const first = await startedAt('again')
  process.kill(monitorOf(id), 'SIGKILL')
  await until('it runs again', async () => (await startedAt('again')) !== first)
  assert.equal(await daemon.mustDocker(['exec', 'again', 'echo', 'alive']), 'alive')
})

test('a monitor that was lost while no daemon was there is found at the start', async () => {
  const [plain, policy] = [await run('plain'), await run('policy', '--restart', 'always')]
  const pids = [await pidOf('plain'), await pidOf('policy')]
  const before = await startedAt('policy')
  const monitors = [monitorOf(plain), monitorOf(policy)]
  await daemon.kill()
  for (const monitor of monitors) process.kill(monitor, 'SIGKILL')
  await daemon.start()
  for (const pid of pids) await isGone(pid)
  const found = await inspected(daemon, 'plain')
  assert.deepEqual([found?.State.Status, found?.State.ExitCode], ['exited', 137])
  await until('the other runs again', async () => (await startedAt('policy')) !== before)
  assert.equal(await daemon.mustDocker(['exec', 'policy', 'echo', 'alive']), 'alive')
})

test('an exec whose monitor is killed ends, and its container runs on', async () => {
  await run('host')
  const exec = daemon.docker(['exec', 'host', 'sleep', '1000'])
  const id = await until('the exec runs', () => {
    const found = monitorsOf(daemon.execRoot).filter(monitor => monitor.id !== '')
    return found.length === 2 ? found.at(-1)?.id : undefined
  })
  const execs = await until('it is known', async () => {
    const { ExecIDs } = await daemon.json<{ ExecIDs: string[] | null }>('GET', '/containers/host/json')
    return ExecIDs?.length ? ExecIDs : undefined
  })
  const execId = execs[0] ?? id
  const { Pid } = await daemon.json<{ Pid: number }>('GET', `/exec/${execId}/json`)
  process.kill(monitorOf(execId), 'SIGKILL')
  await exec
  await isGone(Pid)
  assert.equal(await status('host'), 'running')
  assert.equal(await daemon.mustDocker(['exec', 'host', 'echo', 'alive']), 'alive')
})

const storePid = (): number | undefined => monitorsOf(daemon.execRoot).find(({ id }) => id === '')?.pid

const answers = async (): Promise<boolean> =>
  (await daemon.onHost(['curl', '-s', '-m', '5', 'http://127.0.0.1:8080/'])).stdout === 'page\n'

test('a lost descriptor store is replaced, with listeners and reservations', async () => {
  await daemon.mustDocker(
    ['run', '-d', '--name', 'web', '-p', '8080:80', 'busybox', 'sh', '-c'].concat(
      'echo page > /tmp/index.html; exec httpd -f -h /tmp',
    ),
  )
  await until('the server listens', answers)
  const lost = storePid()
  assert.ok(lost)
  process.kill(lost, 'SIGKILL')
  await until('another one is there', () => {
    const pid = storePid()
    return pid !== undefined && pid !== lost
  })
  await until('it was filled', () => daemon.log.includes('another one holds the same again'))
  assert.equal(await daemon.ping(), 200)
  assert.ok(await answers())
  // The reservation is there: nobody else can have the port.
  const taken = await daemon.onHost(['busybox', 'nc', '-l', '-p', '8080'], { deadline: 5000 })
  assert.match(taken.stderr, /in use/i)
  // The listener is there: a client that comes while no daemon is there is served by the next.
  await daemon.kill()
  const waiting = daemon.docker(['version', '-f', '{{.Server.Version}}'])
  await daemon.start()
  assert.equal((await waiting).code, 0)
  assert.ok(readFileSync(`${daemon.base}/daemon.log`, 'utf8').includes('is ready'))
})

test('a store that is lost while no daemon was there is replaced at the start', async () => {
  await run('kept', '-p', '8080:80')
  await daemon.kill()
  const lost = storePid()
  assert.ok(lost)
  process.kill(lost, 'SIGKILL')
  await daemon.start()
  const taken = await daemon.onHost(['busybox', 'nc', '-l', '-p', '8080'], { deadline: 5000 })
  assert.match(taken.stderr, /in use/i)
  assert.equal(await status('kept'), 'running')
})
