import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

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
    assert.equal(headers['builder-version'], '2')
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
  const build = await daemon.api('POST', '/build?version=2')
  assert.equal(build.status, 501)
  assert.match(message(build.text), /a build by BuildKit .* is not implemented by this version of Berth/)
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

test('clients that leave while they wait for a start leave no connection behind', async () => {
  const { Id: id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    ...{ Image: 'busybox', Cmd: ['echo', 'said'], OpenStdin: true },
  })
  const attach = async (): Promise<Socket> => {
    const socket = connect(daemon.socket)
    const path = `/containers/${id}/attach?stream=1&stdin=1&stdout=1`
    socket.write(`POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`)
    await once(socket, 'data')
    return socket.pause()
  }
  const open = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length
  const stays = await attach()
  // One that has sent all it has to say is not gone.
  stays.end('in')
  const before = open()
  for (let count = 0; count < 20; count++) {
    const left = await attach()
    left.destroy()
    await once(left, 'close')
  }
  assert.ok(open() < before + 5, `${open()} descriptors, ${before} before`)
  await daemon.json('POST', `/containers/${id}/start`)
  const parts: Buffer[] = []
  for await (const part of stays) parts.push(part as Buffer)
  assert.match(Buffer.concat(parts).toString(), /said\n$/)
})

test('a refused upgrade has its answer, and its connection is closed with its client', async () => {
  const open = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length
  const before = open()
  for (let count = 0; count < 20; count++) {
    const socket = connect(daemon.socket)
    const path = '/containers/nothere/attach?stream=1&stdin=1'
    socket.write(`POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nstdin`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    assert.match(answer.toString(), /^HTTP\/1\.1 404 [\s\S]*No such container: nothere/)
    socket.destroy()
    await once(socket, 'close')
  }
  await until('they are closed', () => open() < before + 5)
})

test('attach with logs alone prints what was logged and ends', async () => {
  await daemon.mustDocker(['run', '--name', 'spoke', 'busybox', 'sh', '-c', 'echo out; echo err >&2'])
  const head = 'HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'
  const answer = await raw(`POST /containers/spoke/attach?logs=1&stdout=1 ${head}`)
  assert.ok(answer.endsWith('\r\n\r\n\x01\0\0\0\0\0\0\x04out\n'), JSON.stringify(answer))
})

test('a stream that fails after its head ends, and nothing else is said in it', async () => {
  const id = await daemon.mustDocker(['create', 'busybox', 'true'])
  await daemon.mustDocker(['start', '-a', id])
  const { LogPath } = await daemon.json<{ LogPath: string }>('GET', `/containers/${id}/json`)
  rmSync(LogPath)
  mkdirSync(LogPath)
  for (const upgrade of ['Connection: Upgrade\r\nUpgrade: tcp\r\n', '']) {
    const answer = await raw(
      `POST /containers/${id}/attach?logs=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`,
    )
    assert.match(answer, /^HTTP\/1\.1 (101|200) [\s\S]*\r\n\r\n$/)
    assert.equal(answer.split('HTTP/1.1').length, 2, answer)
  }
  rmdirSync(LogPath)
})

test('managed plugins are none, and who wants one is told what to do instead', async () => {
  const filters = encodeURIComponent('{"enabled":["true"],"capability":["volumedriver"]}')
  assert.deepEqual(await daemon.json('GET', `/plugins?filters=${filters}`), [])
  assert.equal((await daemon.api('GET', '/plugins?filters={"colour":["red"]}')).status, 400)
  for (const [method, url] of [
    ['GET', '/plugins/privileges?remote=vieux/sshfs'],
    ['POST', '/plugins/pull?remote=vieux/sshfs&name=sshfs'],
    ['POST', '/plugins/create?name=sshfs'],
    ['POST', '/plugins/vieux/sshfs/upgrade?remote=vieux/sshfs'],
  ] as const) {
    const { status, text } = await daemon.api(method, url)
    assert.equal(status, 501, url)
    assert.match(message(text), /listens on a socket in \/run\/docker\/plugins/)
  }
  const gone = await daemon.api('GET', '/plugins/vieux/sshfs/json')
  assert.deepEqual([gone.status, message(gone.text)], [404, 'plugin "vieux/sshfs" not found'])
})

test('a body that is not declared as JSON is not read as JSON', async () => {
  for (const type of ['text/plain', 'text/json', 'application/json-patch']) {
    const answer = await daemon.api('POST', '/volumes/create', { Name: 'never' }, { 'Content-Type': type })
    assert.equal(answer.status, 400, type)
    assert.match(message(answer.text), /Content-Type/)
  }
  assert.equal((await daemon.api('GET', '/volumes/never')).status, 404)
})

test('an upgrade behind a request that is not answered yet ends with that answer', async () => {
  const socket = connect(daemon.socket)
  let got = ''
  socket.on('data', bytes => {
    got += bytes.toString('latin1')
  })
  const upgrade =
    'POST /containers/none/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'
  socket.write(`GET /info HTTP/1.1\r\nHost: d\r\n\r\n${upgrade}`)
  await once(socket, 'close')
  assert.match(got, /^HTTP\/1\.1 200 OK/)
  assert.equal(await daemon.ping(), 200)
})

test('a client that closes its half behind its request is answered', async () => {
  for (const version of ['1.0', '1.1'])
    for (const url of ['/_ping', '/info', '/version', '/containers/json', '/images/json', '/volumes']) {
      const socket = connect({ path: daemon.socket, allowHalfOpen: true })
      socket.end(`GET ${url} HTTP/${version}\r\nHost: d\r\n\r\n`)
      let answer = ''
      for await (const part of socket) answer += part
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*(OK|[}\]])\n?(\r\n0\r\n\r\n)?$/, url)
    }
  const events = connect({ path: daemon.socket, allowHalfOpen: true })
  events.end('GET /events HTTP/1.1\r\nHost: d\r\n\r\n')
  let stream = ''
  for await (const part of events) stream += part
  assert.match(stream, /^HTTP\/1\.1 200 OK\r\n/, 'what never ends by itself ends as with Docker')
})

test('a start takes no body, and a resize whole numbers only', async () => {
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    ...{ Image: 'busybox', Cmd: ['true'] },
  })
  const bodies = [
    { body: '{"Image":"x"}', headers: {} },
    { body: '{}', headers: { 'Transfer-Encoding': 'chunked' } },
  ]
  for (const { body, headers } of bodies) {
    const { status, text } = await daemon.api('POST', `/containers/${Id}/start`, body, headers)
    assert.equal(status, 400)
    assert.match(message(text), /^starting container with non-empty request body was deprecated/)
  }
  assert.equal((await daemon.api('POST', `/containers/${Id}/start`, '{}')).status, 204)
  const cases: [string, string][] = [
    ['w=1', 'invalid resize height "": invalid syntax'],
    ['h=1.5&w=1', 'invalid resize height "1.5": invalid syntax'],
    ['h=-1&w=1', 'invalid resize height "-1": value out of range'],
    ['h=1&w=4294967296', 'invalid resize width "4294967296": value out of range'],
  ]
  for (const [query, words] of cases) {
    const { status, text } = await daemon.api('POST', `/containers/${Id}/resize?${query}`)
    assert.deepEqual([status, message(text)], [400, words])
  }
})

test('an address that is none is refused at a login', async () => {
  for (const serveraddress of ['127.0.0\x7f1:1', 'a b', 'host:99999', 'https://[::1/v1/']) {
    const { status, text } = await daemon.api('POST', '/auth', {
      username: 'a',
      password: 'b',
      serveraddress,
    })
    assert.deepEqual([status, /^unable to parse server address/.test(message(text))], [400, true], text)
  }
})

test('no body is an empty object, where one may be left out', async () => {
  const { Name } = await daemon.json<{ Name: string }>('POST', '/volumes/create')
  assert.match(Name, /^[0-9a-f]{64}$/)
  await daemon.json('DELETE', `/volumes/${Name}`)
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', { Image: 'busybox' })
  const chunked = { 'Transfer-Encoding': 'chunked', 'Content-Type': 'application/json' }
  const cases: [string, string | undefined, Record<string, string>, RegExp][] = [
    ['/containers/create', undefined, {}, /^invalid JSON: got EOF while reading request body$/],
    ['/volumes/create', '', chunked, /^invalid JSON: got EOF while reading request body$/],
    ['/volumes/create', '{}', { 'Content-Type': 'text/plain' }, /^unsupported Content-Type header/],
    ['/volumes/create', undefined, { 'Content-Type': 'text/plain' }, /^unsupported Content-Type header/],
    ['/networks/create', undefined, {}, /name/],
    [`/containers/${Id}/exec`, undefined, {}, /is not running|No exec command specified/],
  ]
  for (const [url, body, headers, words] of cases) {
    const { status, text } = await daemon.api('POST', url, body, headers)
    assert.ok(status === 400 || status === 409, `${url}: ${status} ${text}`)
    assert.match(message(text), words, url)
  }
})

test('fields of networks that an old version did not know count for nothing there', async () => {
  const subnet = (part: number) => ({ IPAM: { Config: [{ Subnet: `10.98.${part}.0/24` }] } })
  const asked = { Name: 'old', EnableIPv4: false, ...subnet(1) }
  assert.equal((await daemon.api('POST', '/v1.48/networks/create', asked)).status, 501)
  assert.equal((await daemon.api('POST', '/v1.47/networks/create', asked)).status, 201)
  await daemon.json('POST', '/networks/create', { Name: 'new', ...subnet(2) })
  const id = await daemon.mustDocker(['run', '-d', 'busybox', 'sleep', '1000'])
  const mac = '02:42:0a:62:00:99'
  const connect = { Container: id, EndpointConfig: { MacAddress: mac } }
  await daemon.json('POST', '/v1.53/networks/old/connect', connect)
  await daemon.json('POST', '/v1.54/networks/new/connect', connect)
  type Inspect = { NetworkSettings: { Networks: Record<string, { MacAddress: string }> } }
  const { Networks } = (await daemon.json<Inspect>('GET', `/containers/${id}/json`)).NetworkSettings
  assert.notEqual(Networks['old']?.MacAddress, mac)
  assert.equal(Networks['new']?.MacAddress, mac)
})
