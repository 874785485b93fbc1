import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { Code, ConnectError } from '@connectrpc/connect'
import { getSecret } from '../build/session/secrets.ts'
import { serveOver, socketPair } from '../build/session/testing/client.ts'
import { Secrets } from '../wire/buildkit/secrets_pb.ts'
import { controlClient, startApi, type TestApi } from './testing/apiServer.ts'

const signal = AbortSignal.timeout(30_000)

/** A client, and the connection that it has made. */
const clientOf = ({ socket }: TestApi) => {
  let connection: Socket | undefined
  const client = controlClient({ createConnection: () => (connection = connect(socket)) })
  return { client, [Symbol.dispose]: () => void connection?.destroy() }
}

/** Settles once watchers have heard of so many calls. */
const heard = async ({ noted }: TestApi, count: number): Promise<void> => {
  while (noted.length < count && !signal.aborted) await new Promise(resolve => setImmediate(resolve))
}

test('a client of gRPC is served without an upgrade, and its calls are noted', async () => {
  await using api = await startApi()
  using caller = clientOf(api)
  const { buildkitVersion } = await caller.client.info({})
  assert.equal(buildkitVersion?.version, 'v0.1.0')
  await assert.rejects(
    caller.client.solve({ ref: 'one' }, { headers: { 'user-agent': 'tester', 'x-request-id': 'seven' } }),
    /no builds here/,
  )
  await heard(api, 2)
  assert.deepEqual(
    api.noted.map(({ path, operation, status }) => [path, operation, status]),
    [
      ['/moby.buildkit.v1.Control/Info', 'Grpc', 200],
      ['/moby.buildkit.v1.Control/Solve', 'Grpc', 500],
    ],
  )
  assert.equal(api.noted[1]?.error, 'no builds here')
  const [requester] = api.requesters
  assert.equal(requester?.remote, 'unix')
  assert.equal(requester?.process?.pid, process.pid)
  assert.equal(requester?.requestId, 'seven')
  assert.match(requester?.agent ?? '', /tester/)
})

test('a session comes as a call', async () => {
  await using api = await startApi()
  using caller = clientOf(api)
  const [inner, served] = await socketPair()
  const value = new Uint8Array(400_000).fill(7)
  const offered = serveOver(served, router => router.service(Secrets, { getSecret: () => ({ data: value }) }))
  const outgoing = async function* (): AsyncGenerator<{ data: Uint8Array }> {
    for await (const data of inner as AsyncIterable<Buffer>) yield { data }
  }
  const headers = {
    'x-docker-expose-session-uuid': 'direct',
    'x-docker-expose-session-grpc-method': '/moby.buildkit.secrets.v1.Secrets/GetSecret',
  }
  const receiving = (async () => {
    for await (const { data } of caller.client.session(outgoing(), { headers })) inner.write(data)
  })().catch(() => {})
  const session = await api.sessions.wait('direct', signal)
  assert.deepEqual(Buffer.from(await getSecret(session, 'any', signal)), Buffer.from(value))
  inner.destroy()
  await session.closed
  await receiving
  await heard(api, 1)
  assert.equal(api.noted[0]?.operation, 'Session')
  offered.close()
})

test('the first bytes may come one by one', async () => {
  await using api = await startApi()
  const raw = connect(api.socket)
  for (const byte of Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')) {
    raw.write(Buffer.of(byte))
    await new Promise(resolve => setImmediate(resolve))
  }
  // An empty SETTINGS frame; its answer begins with the server's own.
  raw.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]))
  const [answer] = (await once(raw, 'data')) as [Buffer]
  assert.equal(answer[3], 4)
  raw.destroy()
})

test('what is not gRPC is told to use HTTP/1.1', async () => {
  await using api = await startApi()
  const session = connectHttp2('http://localhost', { createConnection: () => connect(api.socket) })
  const stream = session.request({ ':path': '/_ping' })
  const [headers] = (await once(stream, 'response')) as [{ ':status': number }]
  const text = Buffer.concat((await stream.toArray()) as Buffer[]).toString()
  assert.equal(headers[':status'], 505)
  assert.match(text, /use HTTP\/1\.1/)
  const odd = session.request({
    ...{ ':method': 'POST', ':path': '//[', ':authority': '%%' },
    'content-type': 'application/grpc',
  })
  const [refused] = (await once(odd, 'response')) as [{ ':status': number }]
  assert.ok(refused[':status'])
  session.destroy()
})

/** All that the API says to these bytes. */
const said = async ({ socket }: TestApi, ...parts: string[]): Promise<string> => {
  const client = connect({ path: socket, allowHalfOpen: true })
  for (const part of parts) client.write(part)
  const text = Buffer.concat((await client.toArray()) as Buffer[]).toString()
  client.destroy()
  return text
}

test('HTTP/1 is answered as ever, and the preface of HTTP/2 counts at the beginning only', async () => {
  await using api = await startApi()
  const get = 'GET /nothing HTTP/1.1\r\nHost: a\r\n'
  assert.match(await said(api, `${get}Connection: close\r\n\r\n`), /^HTTP\/1\.1 404 Not Found\r\n/)
  assert.equal(await said(api, 'no request\r\n\r\n'), 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
  const late = await said(api, `${get}\r\n`, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  assert.doesNotMatch(late, /\0/)
  assert.equal(api.http.listenerCount('clientError'), 1)
})

test('a call of a service that is not there, and one that its client leaves, are noted as such', async () => {
  await using api = await startApi()
  const session = connectHttp2('http://localhost', { createConnection: () => connect(api.socket) })
  const ask = (path: string) =>
    session.request({ ...{ ':method': 'POST', ':path': path }, 'content-type': 'application/grpc' })
  await once(ask('/other.Service/Call').resume().end(), 'close')
  const left = ask('/moby.buildkit.v1.Control/Solve')
  await heard(api, 1)
  left.close(constants.NGHTTP2_CANCEL)
  await heard(api, 2)
  assert.deepEqual(
    api.noted.map(({ status }) => status),
    [501, 499],
  )
  session.destroy()
})

test('policies hold for calls', async () => {
  await using api = await startApi({
    policies: [{ name: 'looks', who: undefined, operations: new Set(['Session']) } as never],
  })
  using caller = clientOf(api)
  const refusal = await caller.client.info({}).catch((error: unknown) => ConnectError.from(error))
  assert.ok(refusal instanceof ConnectError)
  assert.equal(refusal.code, Code.PermissionDenied)
  assert.match(refusal.message, /the policy "looks" does not let the user with id \d+ do Grpc/)
  await heard(api, 1)
  assert.equal(api.noted[0]?.status, 403)
})

test('authorization plugins are asked before a call, and told of its end', async () => {
  await using api = await startApi({
    plugin: (_method, { RequestUri }) =>
      String(RequestUri).endsWith('Info') ? { Allow: true } : { Allow: false, Msg: 'not you' },
  })
  using caller = clientOf(api)
  await caller.client.info({})
  await assert.rejects(
    caller.client.listWorkers({}),
    /\[permission_denied\] authorization denied by plugin judge: not you/,
  )
  await heard(api, 2)
  const [before, after, denied] = api.asked
  assert.equal(before?.method, 'AuthZPlugin.AuthZReq')
  assert.equal(before?.question['RequestMethod'], 'POST')
  assert.equal(before?.question['RequestBody'], undefined)
  const headers = (before?.question['RequestHeaders'] ?? {}) as Record<string, string>
  assert.equal(headers['Content-Type'], 'application/grpc+proto')
  assert.deepEqual([after?.method, after?.question['ResponseStatusCode']], ['AuthZPlugin.AuthZRes', 200])
  assert.equal(denied?.question['RequestUri'], '/moby.buildkit.v1.Control/ListWorkers')
})
