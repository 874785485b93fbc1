import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { Code, ConnectError, type ConnectRouter, createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { patience } from '../../../tests/harness/shell.ts'
import { Auth } from '../../wire/buildkit/auth_pb.ts'
import { type BytesMessage, Control } from '../../wire/buildkit/control_pb.ts'
import { FileSend, FileSync } from '../../wire/buildkit/filesync_pb.ts'
import { type Packet, Packet_PacketType, PacketSchema } from '../../wire/buildkit/fsutil_pb.ts'
import { Secrets } from '../../wire/buildkit/secrets_pb.ts'
import { SSH } from '../../wire/buildkit/ssh_pb.ts'
import { Upload } from '../../wire/buildkit/upload_pb.ts'
import { bytesDuplex } from './bytesDuplex.ts'
import { credentialsOf, fetchToken, hasTokenAuthority, tokenAuthority } from './credentials.ts'
import { folderSource } from './folderSource.ts'
import { getSecret } from './secrets.ts'
import { sendFile } from './sendFile.ts'
import { sendTree } from './sendTree.ts'
import { Sessions } from './sessions.ts'
import { checkAgent, forwardAgent } from './ssh.ts'
import { openClient, serveOver, socketPair } from './testing/client.ts'
import { pullUpload } from './upload.ts'

const signal = AbortSignal.timeout(60_000 * patience)
const sending = '/moby.filesync.v1.FileSend/DiffCopy'

/** FileSend as clients serve it for a folder: with the packets of FileSync. */
const packetTarget = {
  ...FileSend,
  method: { diffCopy: { ...FileSync.method.diffCopy, parent: FileSend } },
  methods: [{ ...FileSync.method.diffCopy, parent: FileSend }],
} as unknown as typeof FileSync

test('a build waits for its session, and only so long', async () => {
  await using sessions = new Sessions()
  const waiting = sessions.wait('prefix:here', signal)
  const [near, far] = await socketPair()
  serveOver(far, () => {})
  const connection = { socket: near, id: 'here', name: '', sharedKey: '', methods: ['/A/B'] }
  const session = sessions.open(connection)
  assert.equal(await waiting, session)
  assert.equal(await sessions.wait('here', signal), session)
  assert.ok(session.supports('/a/b'))
  assert.throws(() => sessions.open(connection), {
    code: 'session-exists',
    message: 'session here already exists',
  })
  await assert.rejects(sessions.wait('absent', signal, 1), {
    code: 'no-session',
    message: 'no active session for absent: context deadline exceeded',
  })
  const controller = new AbortController()
  const aborted = sessions.wait('absent', controller.signal)
  controller.abort(new Error('enough'))
  await assert.rejects(aborted, /enough/)
  far.destroy()
  await session.closed
  assert.equal(sessions.find('here'), undefined)
})

test('a client that does not answer any more has no session', async () => {
  await using sessions = new Sessions()
  const [near, far] = await socketPair()
  // Nobody speaks HTTP/2 there, and the connection stays.
  far.resume()
  const connection = { socket: near, id: 'silent', name: '', sharedKey: '', methods: [], healthTimeout: 1 }
  const session = sessions.open(connection)
  await session.closed
  assert.equal(sessions.find('silent'), undefined)
  await assert.rejects(getSecret(session, 'x', signal), { code: 'session-closed' })
})

test('secrets, found, not found, refused and too large', async () => {
  await using client = await openClient(
    router =>
      router.service(Secrets, {
        getSecret: ({ id }) => {
          if (id === 'known') return { data: Buffer.from('value') }
          if (id === 'large') return { data: new Uint8Array(600_000) }
          throw new ConnectError(`no ${id}, 100%`, id === 'refused' ? Code.PermissionDenied : Code.NotFound)
        },
      }),
    [],
  )
  const { session } = client
  assert.equal(Buffer.from(await getSecret(session, 'known', signal)).toString(), 'value')
  await assert.rejects(getSecret(session, 'x', signal), {
    code: 'secret-not-found',
    message: 'secret x: not found',
  })
  await assert.rejects(getSecret(session, 'refused', signal), {
    code: 'forbidden',
    message: 'rpc error: code = PermissionDenied desc = no refused, 100%',
  })
  await assert.rejects(getSecret(session, 'large', signal), { code: 'bad-message' })
  await using other = await openClient(() => {}, [])
  await assert.rejects(getSecret(other.session, 'known', signal), { code: 'secret-not-found' })
})

test('an agent is reached both ways', async () => {
  const ids: (string | null)[] = []
  await using client = await openClient(
    router =>
      router.service(SSH, {
        checkAgent: ({ id }) => {
          if (id !== 'default') throw new ConnectError(`unset ssh forward key ${id}`, Code.NotFound)
          return {}
        },
        async *forwardAgent(messages, { requestHeader }) {
          ids.push(requestHeader.get('buildkit.ssh.id'))
          for await (const { data } of messages) yield { data: Buffer.from(data).reverse() }
        },
      }),
    [],
  )
  await checkAgent(client.session, '', signal)
  await assert.rejects(checkAgent(client.session, 'other', signal), { code: 'not-found' })
  const agent = forwardAgent(client.session, '', signal)
  agent.write('abc')
  assert.equal(String((await once(agent, 'data'))[0]), 'cba')
  agent.end('d')
  assert.equal((await buffer(agent)).toString(), 'd')
  assert.deepEqual(ids, ['default'])
})

test('credentials and tokens', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')
  let forged = false
  const routes = (router: ConnectRouter): void => {
    router.service(Auth, {
      credentials: ({ host }) =>
        host === 'named'
          ? { username: 'me', secret: 'word' }
          : { secret: host === 'token' ? 'identity' : '' },
      fetchToken: ({ scopes, clientId }) => ({ token: `${clientId} ${scopes.join()}`, expiresIn: 60n }),
      getTokenAuthority: () => ({ publicKey: raw }),
      verifyTokenAuthority: ({ payload }) => ({
        signed: Buffer.concat([sign(null, forged ? Buffer.from('x') : payload, privateKey), payload]),
      }),
    })
  }
  await using client = await openClient(routes, [])
  const { session } = client
  const none = { username: '', password: '', identityToken: '', registryToken: '' }
  assert.deepEqual(await credentialsOf(session, 'named', signal), {
    ...none,
    username: 'me',
    password: 'word',
  })
  assert.deepEqual(await credentialsOf(session, 'token', signal), { ...none, identityToken: 'identity' })
  assert.equal(await credentialsOf(session, 'unknown', signal), undefined)
  const wanted = { clientId: 'id', host: 'h', realm: 'r', service: 's', scopes: ['a', 'b'] }
  assert.deepEqual(await fetchToken(session, wanted, signal), { token: 'id a,b', expiresIn: 60, issuedAt: 0 })
  const key = await tokenAuthority(session, 'h', signal)
  assert.deepEqual(Buffer.from(key ?? []), raw)
  const claim = { host: 'h', publicKey: raw }
  assert.equal(await hasTokenAuthority(session, claim, signal), true)
  forged = true
  assert.equal(await hasTokenAuthority(session, claim, signal), false)
  await using other = await openClient(() => {}, [])
  assert.equal(await tokenAuthority(other.session, 'h', signal), undefined)
  assert.equal(await credentialsOf(other.session, 'h', signal), undefined)
})

test('a file is sent with what the client is told of it', async () => {
  const seen: [string | null, string | null, string][] = []
  await using client = await openClient(
    router =>
      router.service(FileSend, {
        async *diffCopy(messages, { requestHeader }) {
          const exporter = requestHeader.get('buildkit-attachable-exporter-id')
          if (exporter === '7') throw new ConnectError('target already exists', Code.AlreadyExists)
          const parts: Uint8Array[] = []
          for await (const { data } of messages) parts.push(Uint8Array.from(data))
          seen.push([exporter, requestHeader.get('exporter-md-name'), Buffer.concat(parts).toString()])
          yield* []
        },
      }),
    [sending],
  )
  const bytes = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('one ')
    yield Buffer.alloc(3_000_000, 'x')
  }
  await sendFile(client.session, { exporter: 1, fields: { Name: 'value' }, bytes: bytes() }, signal)
  assert.deepEqual(seen, [['1', 'value', `one ${'x'.repeat(3_000_000)}`]])
  await assert.rejects(sendFile(client.session, { exporter: 7, bytes: bytes() }, signal), {
    code: 'conflict',
  })
  await using other = await openClient(() => {}, [])
  await assert.rejects(sendFile(other.session, { exporter: 1, bytes: bytes() }, signal), {
    message: `method ${sending} not supported by the client`,
  })
})

test('what a client gives by an address', async () => {
  await using client = await openClient(
    router =>
      router.service(Upload, {
        async *pull(_messages, { requestHeader }) {
          yield { data: Buffer.from(`${requestHeader.get('urlhost')} `) }
          yield { data: Buffer.from(requestHeader.get('urlpath') ?? '') }
        },
      }),
    [],
  )
  const parts = await Array.fromAsync(pullUpload(client.session, 'http://buildkit-session/abc', signal))
  assert.equal(Buffer.concat(parts).toString(), 'buildkit-session /abc')
})

test('a session that comes as messages of a call', async () => {
  await using sessions = new Sessions()
  const [near, far] = await socketPair()
  const server = serveOver(far, router =>
    router.service(Control, {
      async *session(messages: AsyncIterable<BytesMessage>) {
        const { socket, outgoing } = bytesDuplex(messages)
        sessions.open({ socket, id: 'tunnelled', name: '', sharedKey: '', methods: [] })
        yield* outgoing
      },
    }),
  )
  const control = createClient(
    Control,
    createGrpcTransport({ baseUrl: 'http://localhost', nodeOptions: { createConnection: () => near } }),
  )
  // The client's side of the tunnel: a server on one end of a pair, the other end of which is sent.
  const [inner, served] = await socketPair()
  serveOver(served, router =>
    router.service(Secrets, { getSecret: () => ({ data: new Uint8Array(400_000) }) }),
  )
  const outgoing = async function* (): AsyncGenerator<{ data: Uint8Array }> {
    for await (const data of inner as AsyncIterable<Buffer>) yield { data }
  }
  const receiving = (async () => {
    for await (const { data } of control.session(outgoing())) inner.write(data)
  })().catch(() => {})
  const session = await sessions.wait('tunnelled', signal)
  assert.equal((await getSecret(session, 'any', signal)).length, 400_000)
  inner.destroy()
  await session.closed
  near.destroy()
  await receiving
  server.close()
})

test('a tree that its receiver refuses fails with its words, and nothing of it is open any more', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-tree-'))
  for (let count = 0; count < 500; count++)
    writeFileSync(path.join(folder, String(count)), 'x'.repeat(10_000))
  await using client = await openClient(
    router =>
      router.service(packetTarget, {
        async *diffCopy(packets: AsyncIterable<Packet>) {
          for await (const { type } of packets)
            if (type === Packet_PacketType.PACKET_STAT)
              yield create(PacketSchema, {
                type: Packet_PacketType.PACKET_ERR,
                data: Buffer.from('disk full'),
              })
        },
      }),
    [sending],
  )
  const open = readdirSync('/proc/self/fd').length
  {
    using source = folderSource(folder)
    await assert.rejects(
      sendTree(client.session, { exporter: 0, source }, signal),
      /error from receiver: disk full/,
    )
  }
  assert.equal(readdirSync('/proc/self/fd').length, open)
  rmSync(folder, { recursive: true })
})
