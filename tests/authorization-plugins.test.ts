import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { makeCertificates } from '../src/registry-client/testing/certificates.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { type PluginCall, PluginServer, pluginFolder } from './harness/pluginServer.ts'
import { until } from './harness/shell.ts'

/** Plugins that are asked before each request and after it. */

type Question = PluginCall['args']
type Verdict = { Allow: boolean; Msg?: string }

const folder = pluginFolder()
let daemon: TestDaemon
const judges = {
  first: (_: Question): Verdict => ({ Allow: true }),
  second: (_: Question): Verdict => ({ Allow: true }),
}
const answers = { first: (_: Question): Verdict => ({ Allow: true }) }
let first: PluginServer
let second: PluginServer

const allowAll = (): void => {
  judges.first = () => ({ Allow: true })
  judges.second = () => ({ Allow: true })
  answers.first = () => ({ Allow: true })
}

before(async () => {
  first = await PluginServer.start({ folder, name: 'first' }, ['authz'], {
    'AuthZPlugin.AuthZReq': question => judges.first(question),
    'AuthZPlugin.AuthZRes': question => answers.first(question),
  })
  second = await PluginServer.start({ folder, name: 'second' }, ['authz'], {
    'AuthZPlugin.AuthZReq': question => judges.second(question),
    'AuthZPlugin.AuthZRes': () => ({ Allow: true }),
  })
  const tls = makeCertificates()
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text)
    return path.join(folder, name)
  }
  daemon = await startDaemon({
    env: { BERTH_TEST_PLUGINS: folder },
    flags: [
      ...['--authorization-plugin', 'first', '--authorization-plugin', 'second'],
      ...['--tlsverify', '--tlscacert', file('ca.pem', tls.authority)],
      ...[
        '--tlscert',
        file('server.pem', tls.server.cert),
        '--tlskey',
        file('server-key.pem', tls.server.key),
      ],
      ...['-H', 'tcp://127.0.0.1:2376'],
    ],
  })
  file('cert.pem', tls.client.cert)
  file('key.pem', tls.client.key)
  await daemon.loadBusybox()
})
beforeEach(() => {
  allowAll()
  for (const plugin of [first, second]) plugin.calls.length = 0
})
after(async () => {
  allowAll()
  await daemon.close()
  for (const plugin of [first, second]) await plugin[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

const decoded = (text: string | undefined): string => Buffer.from(text ?? '', 'base64').toString()
const asksFor = (plugin: PluginServer, method: string, uri: RegExp): Question[] =>
  plugin.asked(`AuthZPlugin.${method}`).filter(({ RequestUri }) => uri.test(RequestUri))
const names = async (): Promise<string> => {
  allowAll()
  return await daemon.mustDocker(['ps', '-a', '--format', '{{.Names}}'])
}

test('each plugin is shown the request with its JSON and without its secrets, and then the answer', async () => {
  const { status } = await daemon.api(
    'POST',
    '/v1.45/containers/create?name=shown',
    { Image: 'busybox', Cmd: ['true'] },
    { 'X-Registry-Auth': 'c2VjcmV0', 'x-mine': 'yes' },
  )
  assert.equal(status, 201)
  for (const plugin of [first, second]) {
    const [asked] = asksFor(plugin, 'AuthZReq', /create/)
    assert.equal(asked.RequestMethod, 'POST')
    assert.equal(asked.RequestUri, '/v1.45/containers/create?name=shown')
    assert.deepEqual(JSON.parse(decoded(asked.RequestBody)), { Image: 'busybox', Cmd: ['true'] })
    assert.equal(asked.RequestHeaders['X-Mine'], 'yes')
    assert.equal(asked.RequestHeaders['X-Registry-Auth'], undefined)
    assert.equal(asked.User, undefined)
    const [told] = asksFor(plugin, 'AuthZRes', /create/)
    assert.equal(told.ResponseStatusCode, 201)
    assert.match(JSON.parse(decoded(told.ResponseBody)).Id, /^[0-9a-f]{64}$/)
    assert.equal(told.ResponseHeaders['Content-Type'], 'application/json')
    assert.deepEqual(JSON.parse(decoded(told.RequestBody)), { Image: 'busybox', Cmd: ['true'] })
  }
  const call = first.calls[0]
  assert.match(String(call?.headers['content-type']), /^application\/vnd\.docker\.plugins\.v1\.2\+json$/)
  await daemon.mustDocker(['rm', 'shown'])
})

test('streams, waits and uploads work as without a plugin', async () => {
  assert.equal(
    await daemon.mustDocker(['run', '-i', '--rm', 'busybox', 'cat'], { input: 'by attach' }),
    'by attach',
  )
  assert.equal((await daemon.docker(['run', '--rm', 'busybox', 'sh', '-c', 'exit 7'])).code, 7)
  await daemon.mustDocker(['run', '-d', '--name', 'long', 'busybox', 'sleep', '1000'])
  assert.equal(await daemon.mustDocker(['exec', '-i', 'long', 'cat'], { input: 'by exec' }), 'by exec')
  const input = Buffer.alloc(9 * 1024 * 1024, 'x')
  const { stdout } = await daemon.docker(['exec', '-i', 'long', 'wc', '-c'], { input })
  assert.equal(stdout.trim(), String(input.length))
  writeFileSync(path.join(folder, 'large'), input)
  await daemon.mustDocker(['cp', path.join(folder, 'large'), 'long:/large'])
  assert.equal(await daemon.mustDocker(['exec', 'long', 'stat', '-c', '%s', '/large']), String(input.length))
  assert.equal(asksFor(first, 'AuthZReq', /archive/).at(-1).RequestBody, undefined)
  assert.equal(asksFor(first, 'AuthZRes', /attach/)[0].ResponseBody, undefined)
  await daemon.mustDocker(['rm', '-f', 'long'])
})

test('a stream that begins right behind its request is not taken for another request', async () => {
  await daemon.mustDocker(['run', '-d', '-i', '--name', 'early', 'busybox', 'cat'])
  const asked = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  judges.first = (() => {
    asked.resolve()
    return go.promise.then(() => ({ Allow: true }))
  }) as unknown as typeof judges.first
  const socket = net.connect(daemon.socket)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.write('POST /containers/early/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n\r\n')
  await asked.promise
  socket.write('early words\n')
  await new Promise(resolve => setTimeout(resolve, 50))
  go.resolve()
  await until('cat answered', () => Buffer.concat(chunks).includes('early words\n'))
  socket.destroy()
  await daemon.mustDocker(['rm', '-f', 'early'])
})

test('the first that denies ends the request before anything is done', async () => {
  judges.second = ({ RequestUri }) =>
    /create/.test(RequestUri) ? { Allow: false, Msg: 'no containers on Sundays' } : { Allow: true }
  const { code, stderr } = await daemon.docker(['create', '--name', 'denied', 'busybox'])
  assert.notEqual(code, 0)
  assert.match(stderr, /authorization denied by plugin second: no containers on Sundays/)
  assert.equal(asksFor(first, 'AuthZReq', /create/).length, 1)
  assert.equal(asksFor(first, 'AuthZRes', /create/).length, 0)
  judges.first = () => ({ Allow: false, Msg: 'nothing' })
  const before = second.calls.length
  assert.equal((await daemon.api('GET', '/containers/json')).status, 403)
  assert.equal(second.calls.length, before)
  assert.equal(await names(), '')
})

test('an answer that is denied does not come', async () => {
  answers.first = ({ RequestUri }) =>
    /\/info$/.test(RequestUri) ? { Allow: false, Msg: 'secret' } : { Allow: true }
  const { status, text } = await daemon.api('GET', '/info')
  assert.deepEqual(
    [status, JSON.parse(text)],
    [403, { message: 'authorization denied by plugin first: secret' }],
  )
})

/** Writes bytes as they are, and gives all that comes within the connection's life. */
const raw = async (text: string): Promise<string> => {
  const socket = net.connect(daemon.socket)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
  socket.write(text)
  await new Promise(resolve => socket.once('close', resolve))
  return Buffer.concat(chunks).toString()
}

test('no way of sending a body hides it from plugins', async () => {
  const body = JSON.stringify({ Image: 'busybox', HostConfig: { Privileged: true } })
  const denyPrivileged = ({ RequestBody, RequestUri }: Question): Verdict => ({
    Allow: !/create/.test(RequestUri) || !/Privileged":true/.test(decoded(RequestBody)),
    Msg: 'privileged',
  })
  const json = 'Content-Type: application/json'
  const length = `Content-Length: ${body.length}`
  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
  const padded = body.replace('{', `{"Pad":"${'x'.repeat(5 * 1024 * 1024)}",`)
  const forms: [head: string[], body: string][] = [
    [[json, length], body],
    [[json, 'Content-Length: 0'], body],
    [[json, 'Content-Length: 00'], body],
    [[json, 'Content-Length: 0', 'Transfer-Encoding: chunked'], chunked],
    [[json, 'Content-Length: 0', length], body],
    [[json, 'Transfer-Encoding: chunked'], chunked],
    [['Content-Type: APPLICATION/JSON; charset=utf-8', length], body],
    [['Content-Type: application/json;;', length], body],
    [['Content-Type: application/json-patch', length], body],
    [['Content-Type: text/json', length], body],
    [['Content-Type: text/plain', length], body],
    [[length], body],
    [[json, length, 'Upgrade: tcp', 'Connection: Upgrade'], body],
    [[json, 'Content-Length: 0', 'Upgrade: tcp', 'Connection: Upgrade'], body],
  ]
  for (const [head, content] of forms) {
    judges.first = denyPrivileged
    const close = head.includes('Upgrade: tcp') ? [] : ['Connection: close']
    const lines = ['POST /v1.45/containers/create?name=hidden HTTP/1.1', 'Host: docker', ...close, ...head]
    const answer = await raw(`${lines.join('\r\n')}\r\n\r\n${content}`)
    assert.match(answer, /^HTTP\/1\.1 (400|403|500) /, head.join(', '))
    assert.equal(await names(), '', head.join(', '))
  }
  judges.first = denyPrivileged
  const { status, text } = await daemon.api('POST', '/containers/create?name=hidden', padded)
  assert.deepEqual(
    [status, JSON.parse(text).message],
    [500, 'request body too large for authorization plugin: size exceeds 4194304 bytes'],
  )
  assert.equal(await names(), '')
})

test('what docker login sends is not shown', async () => {
  await daemon.api('POST', '/auth', {
    username: 'me',
    password: 'secret',
    serveraddress: 'http://127.0.0.1:9',
  })
  const [asked] = asksFor(first, 'AuthZReq', /auth/)
  assert.equal(asked.RequestBody, undefined)
})

test('a client with a certificate is a user', async () => {
  const files = ['ca', 'cert', 'key'].flatMap(name => [
    `--tls${name === 'ca' ? 'cacert' : name}`,
    path.join(folder, `${name}.pem`),
  ])
  const { code, stderr } = await daemon.onHost([
    daemon.client,
    '-H',
    'tcp://127.0.0.1:2376',
    '--tlsverify',
    ...files,
    'ps',
  ])
  assert.equal(code, 0, stderr)
  const [asked] = asksFor(first, 'AuthZReq', /containers\/json/)
  assert.equal(asked.UserAuthNMethod, 'TLS')
  assert.match(decoded(asked.RequestPeerCertificates[0]), /^-----BEGIN CERTIFICATE-----\n/)
  assert.equal(new X509Certificate(decoded(asked.RequestPeerCertificates[0])).subject, `CN=${asked.User}`)
})

test('a plugin that hangs holds its request alone, and nothing is done when the client has gone', async () => {
  const asked = Promise.withResolvers<void>()
  judges.first = (({ RequestUri }: Question) => {
    if (!/create/.test(RequestUri)) return { Allow: true }
    asked.resolve()
    return new Promise(() => {})
  }) as unknown as typeof judges.first
  const socket = net.connect(daemon.socket)
  const body = JSON.stringify({ Image: 'busybox' })
  socket.write(
    `POST /containers/create?name=hung HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  await asked.promise
  await daemon.mustDocker(['ps'])
  socket.destroy()
  assert.equal(await names(), '')
})

test('a plugin that is dead is waited for, and its death harms no container', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'lives', 'busybox', 'sleep', '1000'])
  await first.die()
  const listing = daemon.mustDocker(['ps', '--format', '{{.Names}}'])
  await new Promise(resolve => setTimeout(resolve, 300))
  await first.revive()
  assert.equal(await listing, 'lives')
  await daemon.restart()
  assert.equal(await daemon.mustDocker(['ps', '--format', '{{.Names}}']), 'lives')
  await daemon.mustDocker(['rm', '-f', 'lives'])
})

test('SIGHUP reads the plugins again; one that is not there fails every request', async () => {
  const own = await startDaemon({ env: { BERTH_TEST_PLUGINS: folder } })
  try {
    const write = (plugins: string[]): void =>
      writeFileSync(path.join(own.base, 'daemon.json'), JSON.stringify({ 'authorization-plugins': plugins }))
    write(['first'])
    await own.kill()
    await own.start({ wait: false })
    await until('it answers', async () => (await own.ping()) === 200)
    assert.deepEqual((await own.json<{ Plugins: object }>('GET', '/info')).Plugins, {
      ...(await own.json<{ Plugins: object }>('GET', '/info')).Plugins,
      Authorization: ['first'],
    })
    write(['absent'])
    process.kill(own.pid, 'SIGHUP')
    await until('it fails', async () => (await own.ping()) === 500)
    const { status, text } = await own.api('GET', '/version')
    assert.deepEqual(
      [status, JSON.parse(text).message],
      [500, 'plugin absent failed with error: plugin "absent" not found'],
    )
    await own.kill()
    await own.start({ wait: false })
    await until('it has started all the same', async () => (await own.ping()) === 500)
    write([])
    process.kill(own.pid, 'SIGHUP')
    await until('it asks nobody', async () => (await own.ping()) === 200)
    const asked = first.calls.length
    await own.api('GET', '/version')
    assert.equal(first.calls.length, asked)
  } finally {
    await own.close()
  }
})
