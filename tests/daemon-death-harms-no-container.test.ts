import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { monitorsOf } from './harness/monitors.ts'
import { run, until } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

/** A client that runs on while the test does other things. */
const background = (args: string[]): { output: () => string; done: Promise<number> } => {
  let text = ''
  const child = spawn(daemon.client, args, {
    env: { ...process.env, ...daemon.dockerEnv },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.on('data', chunk => {
    text += chunk
  })
  child.stderr.on('data', chunk => {
    text += chunk
  })
  const done = new Promise<number>(resolve => child.once('close', code => resolve(code ?? -1)))
  return { output: () => text, done }
}

/** The start has been answered: by then this daemon owes its client nothing that a monitor does not hold. */
const started = (name: string): Promise<unknown> =>
  until(
    'the start was answered',
    async () => (await daemon.docker(['inspect', '-f', '{{.State.Running}}', name])).stdout === 'true\n',
  )

test('docker run keeps its stream over kill -9 and ends with the true exit code', async () => {
  const client = background([
    'run',
    '--rm',
    '--name',
    'seven',
    'busybox',
    'sh',
    '-c',
    'echo begin; sleep 4; echo end; exit 7',
  ])
  await until('the container spoke', () => client.output().includes('begin'))
  await started('seven')
  await daemon.kill()
  await daemon.start()
  assert.equal(await client.done, 7, client.output())
  assert.match(client.output(), /begin\nend/)
  await until('--rm was caught up', async () => (await daemon.docker(['inspect', 'seven'])).code === 1)
})

test('docker run ends with the exit code even while no daemon is there', async () => {
  const client = background(['run', '--name', 'three', 'busybox', 'sh', '-c', 'echo begin; sleep 2; exit 3'])
  await until('the container spoke', () => client.output().includes('begin'))
  await started('three')
  await daemon.kill()
  assert.equal(await client.done, 3, client.output())
  await daemon.start()
  const state = JSON.parse(await daemon.mustDocker(['inspect', '-f', '{{json .State}}', 'three'])) as Record<
    string,
    unknown
  >
  assert.equal(state['ExitCode'], 3)
  assert.equal(state['Status'], 'exited')
  assert.ok(Date.parse(String(state['FinishedAt'])) > Date.parse(String(state['StartedAt'])))
})

test('no log line is lost, and attach, exec, wait and stop work again after the restart', async () => {
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    'counter',
    'busybox',
    'sh',
    '-c',
    'i=0; while true; do i=$((i+1)); echo line $i; sleep 0.01; done',
  ])
  await until('it counts', async () => (await daemon.mustDocker(['logs', 'counter'])).includes('line 20'))
  await daemon.kill()
  await daemon.start()
  await until('it counts on', async () => (await daemon.mustDocker(['logs', 'counter'])).includes('line 200'))
  const lines = (await daemon.mustDocker(['logs', 'counter'])).split('\n')
  assert.deepEqual(
    lines.slice(0, 200),
    Array.from({ length: 200 }, (_, index) => `line ${index + 1}`),
  )
  assert.equal(await daemon.mustDocker(['exec', 'counter', 'echo', 'hello']), 'hello')
  const waiting = background(['wait', 'counter'])
  await daemon.mustDocker(['stop', '-t', '0', 'counter'])
  assert.equal(await waiting.done, 0)
  assert.equal(waiting.output(), '137\n')
})

test('a published port goes on while the daemon is dead and after it is back', async () => {
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    'web',
    '-p',
    '8080:80',
    'busybox',
    'sh',
    '-c',
    'echo page > /tmp/index.html; exec httpd -f -h /tmp',
  ])
  const page = async (): Promise<string> =>
    (await daemon.onHost(['curl', '-s', '-m', '5', 'http://127.0.0.1:8080/'])).stdout
  await until('the server listens', async () => (await page()) === 'page\n')
  await daemon.kill()
  assert.equal(await page(), 'page\n')
  await daemon.start()
  assert.equal(await page(), 'page\n')
  const port = await daemon.docker(['run', '--rm', '-p', '8080:80', 'busybox', 'true'])
  assert.equal(port.code, 125)
  assert.match(port.stderr, /port is already allocated/)
  await daemon.mustDocker(['rm', '-f', 'web'])
})

test('the API socket keeps its inode, and a client that connects meanwhile is served', async () => {
  const inode = async (): Promise<string> => (await run(['stat', '-c', '%i', daemon.socket])).stdout
  const before = await inode()
  await daemon.kill()
  const client = background(['version', '-f', '{{.Server.Version}}'])
  await daemon.start()
  assert.equal(await client.done, 0, client.output())
  assert.equal(await inode(), before)
})

test('restart policies and exec results are caught up', async () => {
  const folder = path.join(daemon.base, 'phoenix')
  mkdirSync(folder)
  await daemon.mustDocker([
    ...'run -d --restart always --name phoenix -v'.split(' '),
    `${folder}:/told`,
    'busybox',
    'sh',
    '-c',
    'echo up; until rm /told/end 2>/dev/null; do sleep 0.1; done; exit 4',
  ])
  const client = background(['exec', 'phoenix', 'sh', '-c', 'exit 5'])
  assert.equal(await client.done, 5)
  const pid = await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', 'phoenix'])
  await daemon.kill()
  writeFileSync(path.join(folder, 'end'), '')
  await until('its process has ended', () => !existsSync(`/proc/${pid}`))
  await daemon.start()
  await until('it was started again', async () => {
    const logs = await daemon.mustDocker(['logs', 'phoenix'])
    return logs.split('\n').filter(line => line === 'up').length >= 2
  })
  await daemon.mustDocker(['rm', '-f', 'phoenix'])
})

test('exec goes on over the death of the daemon and its exit code is found', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'host', 'busybox', 'sleep', '1000'])
  const client = background(['exec', 'host', 'sh', '-c', 'echo begin; sleep 3; echo end; exit 9'])
  await until('the exec spoke', () => client.output().includes('begin'))
  await daemon.kill()
  await daemon.start()
  assert.equal(await client.done, 9, client.output())
  assert.match(client.output(), /begin\nend/)
  await daemon.mustDocker(['rm', '-f', 'host'])
})

test('with --live-restore=false a stop ends everything, and a crash’s survivors are ended', async () => {
  const strict = await startDaemon({ flags: ['--live-restore=false', '--shutdown-timeout', '5'] })
  try {
    await strict.loadBusybox()
    const status = (name: string): Promise<string> =>
      strict.mustDocker(['inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', name])
    await strict.mustDocker(['run', '-d', '--name', 'plain', 'busybox', 'sleep', '1000'])
    await strict.mustDocker([
      'run',
      '-d',
      '--name',
      'back',
      '--restart',
      'always',
      'busybox',
      'sleep',
      '1000',
    ])
    await strict.kill('SIGKILL')
    await strict.start()
    assert.equal(await status('plain'), 'exited 137')
    await until('the policy brought it back', async () => (await status('back')) === 'running 0')
    await strict.kill('SIGTERM')
    await until('no process is left', async () => (await run(['pgrep', '-f', strict.execRoot])).code === 1)
    await strict.start()
    await until('the policy brought it back', async () => (await status('back')) === 'running 0')
  } finally {
    await strict.close()
  }
})

test('the journal outlives the daemon and tells causes', async () => {
  assert.equal((await daemon.docker(['run', '--name', 'cause', 'busybox', 'sh', '-c', 'exit 3'])).code, 3)
  await daemon.restart()
  const { text } = await daemon.api(
    'GET',
    `/events?since=0&until=${Date.now() / 1000}&filters=${encodeURIComponent('{"container":["cause"],"event":["die"]}')}`,
  )
  const event = JSON.parse(text) as { Actor: { Attributes: Record<string, string> } }
  assert.equal(event.Actor.Attributes['berth.cause'], 'exit')
  assert.equal(event.Actor.Attributes['exitCode'], '3')
})

test('monitors and the descriptor store are in a control group apart from the daemon and the containers', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'apart', '-p', '127.0.0.1::80', 'busybox', 'sleep', '1000'])
  const groupOf = (pid: number | string): string =>
    readFileSync(`/proc/${pid}/cgroup`, 'utf8').match(/^\d+:(?:pids|):(.*)$/m)?.[1] ?? ''
  const owners = monitorsOf(daemon.execRoot)
  assert.ok(owners.some(owner => owner.id === '') && owners.some(owner => owner.id !== ''))
  const groups = new Set(owners.map(owner => groupOf(owner.pid)))
  assert.equal(groups.size, 1, [...groups].join(' '))
  const [group = ''] = groups
  assert.match(group, /berth-.*monitors(\.scope)?$/)
  const container = groupOf(await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', 'apart']))
  assert.doesNotMatch(container, /monitors/)
  assert.notEqual(groupOf(daemon.pid), group)
  await daemon.mustDocker(['rm', '-f', 'apart'])
})
