import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const message = (text: string): string => (JSON.parse(text) as { message: string }).message

test('ping has all of Docker’s headers, by GET and HEAD', async () => {
  for (const method of ['GET', 'HEAD']) {
    const { status, headers, text } = await daemon.api(method, '/_ping')
    assert.equal(status, 200)
    assert.equal(text, method === 'GET' ? 'OK' : '')
    assert.equal(headers['api-version'], '1.55')
    assert.equal(headers['ostype'], 'linux')
    assert.equal(headers['docker-experimental'], 'false')
    assert.equal(headers['builder-version'], '1')
    assert.equal(headers['swarm'], 'inactive')
    assert.match(String(headers['cache-control']), /no-store/)
    assert.match(String(headers['server']), /^Berth\//)
  }
})

test('versions are chosen by prefix, within bounds', async () => {
  assert.equal((await daemon.api('GET', '/v1.24/_ping')).status, 200)
  assert.equal((await daemon.api('GET', '/v1.55/_ping')).status, 200)
  const late = await daemon.api('GET', '/v1.56/info')
  assert.deepEqual(
    [late.status, message(late.text)],
    [400, 'client version 1.56 is too new. Maximum supported API version is 1.55'],
  )
  const early = await daemon.api('GET', '/v1.23/info')
  assert.equal(early.status, 400)
  assert.match(
    message(early.text),
    /client version 1\.23 is too old\. Minimum supported API version is 1\.24/,
  )
  const lost = await daemon.api('GET', '/nowhere')
  assert.deepEqual([lost.status, message(lost.text)], [404, 'page not found'])
})

test('shapes follow the version', async () => {
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create?name=shape', {
    Image: 'busybox',
    Cmd: ['true'],
  })
  type Inspect = { NetworkSettings: { IPAddress?: string }; ImageManifestDescriptor?: object }
  const old = await daemon.json<Inspect>('GET', `/v1.44/containers/${Id}/json`)
  assert.equal(old.NetworkSettings.IPAddress, '')
  assert.equal(old.ImageManifestDescriptor, undefined)
  const fresh = await daemon.json<Inspect>('GET', `/v1.55/containers/${Id}/json`)
  assert.equal(fresh.NetworkSettings.IPAddress, undefined)
  assert.ok(fresh.ImageManifestDescriptor)
})

test('requests are read as leniently as Go reads them', async () => {
  const made = await daemon.api('POST', '/containers/create', {
    image: 'busybox',
    cmd: 'true',
    hostconfig: null,
    ENV: null,
    Unknown: 7,
  })
  assert.equal(made.status, 201, made.text)
  const wrong = await daemon.api('POST', '/containers/create', {
    Image: 'busybox',
    HostConfig: { Memory: 'much' },
  })
  assert.equal(wrong.status, 400)
  assert.match(message(wrong.text), /HostConfig\.Memory must be an integer, not string/)
  const huge = await daemon.api(
    'POST',
    '/containers/create',
    '{"Image":"busybox","HostConfig":{"Memory":9007199254740993}}',
  )
  assert.match(message(huge.text), /HostConfig\.Memory must be an integer within/)
  assert.equal((await daemon.api('POST', '/containers/create', '{')).status, 400)
  assert.equal((await daemon.api('POST', '/containers/create', '')).status, 400)
  assert.equal((await daemon.api('POST', '/containers/create', { Image: 'absent:1' })).status, 404)
  assert.match(
    message((await daemon.api('POST', '/containers/create', { Image: 'absent:1' })).text),
    /^No such image: absent:1$/,
  )
})

test('bad options are refused in Docker’s words, and leave nothing', async () => {
  const cases: [object, RegExp][] = [
    [{ HostConfig: { Memory: 1024 } }, /Minimum memory limit allowed is 6MB/],
    [
      { HostConfig: { MemorySwap: 1e8 } },
      /You should always set the Memory limit when using Memoryswap limit/,
    ],
    [{ HostConfig: { NanoCpus: 1e12 } }, /range of CPUs is from 0\.01 to/],
    [
      { HostConfig: { RestartPolicy: { Name: 'sometimes' } } },
      /invalid restart policy: unknown policy 'sometimes'/,
    ],
    [
      { HostConfig: { AutoRemove: true, RestartPolicy: { Name: 'always' } } },
      /can't create 'AutoRemove' container with restart policy/,
    ],
    [{ HostConfig: { IpcMode: 'nonsense' } }, /invalid IPC mode: nonsense/],
    [{ HostConfig: { Binds: ['/a:/b', '/c:/b'] } }, /Duplicate mount point: \/b/],
    [{ HostConfig: { Binds: ['/a:b'] } }, /invalid volume specification: '\/a:b'/],
    [{ HostConfig: { PortBindings: { '99999/tcp': [{}] } } }, /invalid port specification/],
    [{ HostConfig: { SecurityOpt: ['nonsense=1'] } }, /invalid --security-opt/],
    [
      { WorkingDir: 'relative' },
      /the working directory 'relative' is invalid, it needs to be an absolute path/,
    ],
    [{ Healthcheck: { Test: ['CMD', 'x'], Interval: 5 } }, /Interval in Healthcheck cannot be less than 1ms/],
  ]
  const count = async (): Promise<number> =>
    (await daemon.json<object[]>('GET', '/containers/json?all=1')).length
  const before = await count()
  for (const [options, words] of cases) {
    const { status, text } = await daemon.api('POST', '/containers/create?name=bad', {
      Image: 'busybox',
      Cmd: ['true'],
      ...options,
    })
    assert.ok(status === 400 || status === 404, `${status} ${text}`)
    assert.match(message(text), words)
  }
  assert.equal(await count(), before)
  assert.equal(
    (await daemon.api('POST', '/containers/create?name=bad', { Image: 'busybox', Cmd: ['true'] })).status,
    201,
  )
})

test('what is not built says so; what is absent answers as Docker does', async () => {
  const build = await daemon.api('POST', '/build')
  assert.equal(build.status, 501)
  assert.match(message(build.text), /building an image is not implemented by this version of Berth/)
  const swarm = await daemon.api('GET', '/services')
  assert.equal(swarm.status, 503)
  assert.match(message(swarm.text), /^This node is not a swarm manager\./)
  assert.equal((await daemon.api('POST', '/swarm/init', {})).status, 501)
  assert.equal((await daemon.api('GET', '/plugins')).text, '[]\n')
  assert.deepEqual(await daemon.json('GET', '/volumes'), { Volumes: [], Warnings: null })
})

/** Sends raw bytes and gives all that comes back. */
const raw = (
  text: string,
  then?: (socket: ReturnType<typeof connect>, seen: string) => void,
): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(daemon.socket)
    let seen = ''
    socket.on('data', chunk => {
      seen += chunk.toString('latin1')
      then?.(socket, seen)
    })
    socket.on('end', () => resolve(seen))
    socket.on('error', reject)
    socket.write(text)
  })

test('attach is taken over with and without an upgrade, half-closed both ways', async () => {
  for (const upgrade of ['Connection: Upgrade\r\nUpgrade: tcp\r\n', '']) {
    const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
      Image: 'busybox',
      Cmd: ['cat'],
      OpenStdin: true,
      StdinOnce: true,
    })
    const attached = raw(
      `POST /containers/${Id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${upgrade}Content-Length: 0\r\n\r\n`,
      (socket, seen) => {
        if (!seen.includes('\r\n\r\n') || socket.writableEnded) return
        socket.end('typed\n')
        void daemon.api('POST', `/containers/${Id}/start`)
      },
    )
    const answer = await attached
    assert.match(answer, upgrade ? /^HTTP\/1\.1 101 UPGRADED\r\n/ : /^HTTP\/1\.1 200 OK\r\n/)
    assert.match(answer, /Content-Type: application\/vnd\.docker\.multiplexed-stream/)
    assert.ok(answer.endsWith('\x01\0\0\0\0\0\0\x06typed\n'), JSON.stringify(answer))
  }
})

test('attach with logs alone prints what was logged and ends', async () => {
  await daemon.mustDocker(['run', '--name', 'spoke', 'busybox', 'sh', '-c', 'echo out; echo err >&2'])
  const head = 'HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'
  const answer = await raw(`POST /containers/spoke/attach?logs=1&stdout=1 ${head}`)
  assert.ok(answer.endsWith('\r\n\r\n\x01\0\0\0\0\0\0\x04out\n'), JSON.stringify(answer))
})
