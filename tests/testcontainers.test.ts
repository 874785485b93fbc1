import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import Docker from 'dockerode'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { importDebianImages } from './harness/debianImages.ts'
import { projectRoot } from './harness/images.ts'
import { run, until } from './harness/shell.ts'

/** Tests of others that start what they need in containers, with a reaper that removes what they leave. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  await importDebianImages(daemon, ['reaper'])
})
after(() => daemon.close())

const left = async (label: string): Promise<string[]> => {
  const filter = ['--filter', `label=${label}`]
  const lists = await Promise.all([
    daemon.mustDocker(['ps', '-aq', ...filter]),
    daemon.mustDocker(['network', 'ls', '-q', ...filter]),
    daemon.mustDocker(['volume', 'ls', '-q', ...filter]),
    daemon.mustDocker(['images', '-q', ...filter]),
  ])
  return lists.flatMap(text => text.split('\n').filter(Boolean))
}

/** The reaper's port as the host has it, by way of the container's address in the namespace that plays the host. */
const startReaper = async (docker: Docker, env: string[]): Promise<Docker.Container> => {
  const reaper = await docker.createContainer({
    Image: 'testcontainers/ryuk:latest',
    Env: env,
    ExposedPorts: { '8080/tcp': {} },
    HostConfig: {
      AutoRemove: true,
      Binds: [`${daemon.socket}:/var/run/docker.sock`],
      PortBindings: { '8080/tcp': [{ HostPort: '0' }] },
    },
  })
  await reaper.start()
  const stream = await reaper.logs({ follow: true, stdout: true, stderr: true })
  for await (const chunk of stream) if (String(chunk).includes('Started')) break
  return reaper
}

/** A client within the host's namespace: what is written to it goes to the port. */
const clientOf = async (
  port: string,
): Promise<{ say(line: string): Promise<string>; kill(): Promise<void> }> => {
  const child = spawn('nsenter', [`--net=${daemon.namespace}`, 'busybox', 'nc', '127.0.0.1', port])
  const lines = createInterface(child.stdout)
  return {
    say: async line => {
      child.stdin.write(line)
      return String((await once(lines, 'line'))[0])
    },
    kill: async () => {
      const ended = once(child, 'close')
      child.kill('SIGKILL')
      await ended
    },
  }
}

test('a reaper in a container removes what a killed process left, and nothing else', async () => {
  const docker = new Docker({ socketPath: daemon.socket })
  const reaper = await startReaper(docker, ['RYUK_RECONNECTION_TIMEOUT=1s'])
  const { NetworkSettings } = await reaper.inspect()
  const port = NetworkSettings.Ports['8080/tcp']?.[0]?.HostPort ?? ''
  const client = await clientOf(port)
  const session = { 'org.testcontainers': 'true', 'org.testcontainers.session-id': 'killed' }
  const filters = Object.entries(session).map(
    ([key, value]) => `label=${encodeURIComponent(`${key}=${value}`)}`,
  )
  assert.equal(await client.say(`${filters.join('&')}\n`), 'ACK')
  await docker.createNetwork({ Name: 'session-net', Labels: session })
  await docker.createVolume({ Name: 'session-vol', Labels: session })
  const made = await docker.createContainer({
    Image: 'busybox',
    Cmd: ['sleep', '1000'],
    Labels: session,
    HostConfig: { NetworkMode: 'session-net', Binds: ['session-vol:/data'] },
  })
  await made.start()
  await made.commit({
    repo: 'session-image',
    changes: 'LABEL org.testcontainers=true org.testcontainers.session-id=killed',
  })
  const other = await docker.createContainer({ Image: 'busybox', Labels: { 'org.testcontainers': 'true' } })
  assert.equal((await left('org.testcontainers.session-id=killed')).length, 4)
  await client.kill()
  await until(
    'all of the session is gone',
    async () => (await left('org.testcontainers.session-id=killed')).length === 0,
  )
  await until('the reaper is gone', async () => (await docker.listContainers()).length === 0)
  assert.equal((await other.inspect()).State.Status, 'created')
  await other.remove()
})

const story = (part: string) => {
  const folder = path.join(daemon.base, `story-${part}`)
  mkdirSync(folder)
  const program = path.join(projectRoot, 'tests/stories/testcontainers.mjs')
  return run(['nsenter', `--net=${daemon.namespace}`, `--wd=${folder}`, process.execPath, program, part], {
    env: {
      ...daemon.dockerEnv,
      RYUK_CONTAINER_IMAGE: 'testcontainers/ryuk:latest',
      RYUK_RECONNECTION_TIMEOUT: '1s',
      TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE: daemon.socket,
      TESTCONTAINERS_HOST_OVERRIDE: '127.0.0.1',
      TESTCONTAINERS_REUSE_ENABLE: 'true',
    },
  })
}

const all = 'org.testcontainers=true'

for (const [part, what] of Object.entries({
  waits: 'every way to wait until a container is ready',
  files: 'files, commands, output and a restart',
  networks: 'networks with aliases',
  reuse: 'a container that is used again',
}))
  test(`Testcontainers: ${what}`, async () => {
    const { code, stdout, stderr } = await story(part)
    assert.equal(code, 0, stderr)
    assert.match(stdout, new RegExp(`${part}: done`))
    await until('nothing of it is left', async () => (await left(all)).length === 0)
  })

test('Testcontainers: what a killed test left is removed', async () => {
  const { stdout, stderr } = await story('killed')
  assert.match(stdout, /left/, stderr)
  await until('nothing of it is left', async () => (await left(all)).length === 0)
})
