import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { controlClient, startApi } from '../api/testing/apiServer.ts'
import { makeCertificates } from '../registry-client/testing/certificates.ts'
import { openTlsDoor } from './tlsDoor.ts'

const { authority, client, server } = makeCertificates()

test('over TLS gRPC is served to those who speak nothing but HTTP/2, by their certificates', async t => {
  await using api = await startApi()
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const door = openTlsDoor({ verify: true, authority, ...server }, api.http, log as never)
  const listener = createServer({ allowHalfOpen: true }, socket => door.accept(socket))
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.after(() => listener.close())
  const { port } = listener.address() as AddressInfo
  const options = { ca: authority, servername: 'localhost', ...client }

  const agreed = async (protocols: string[]): Promise<string | false | null> => {
    const socket = connectTls({ host: '127.0.0.1', port, ...options, ALPNProtocols: protocols })
    await once(socket, 'secureConnect')
    socket.destroy()
    return socket.alpnProtocol
  }
  assert.equal(await agreed(['h2', 'http/1.1']), 'http/1.1')
  assert.equal(await agreed(['h2']), 'h2')
  assert.equal(await agreed([]), false)
  await assert.rejects(agreed(['other']), /no.application.protocol/i)

  const secure = connectTls({ host: '127.0.0.1', port, ...options, ALPNProtocols: ['h2'] })
  const caller = controlClient({ createConnection: () => secure }, `https://localhost:${port}`)
  await assert.rejects(caller.solve({ ref: 'one' }), /no builds here/)
  assert.match(api.requesters[0]?.remote ?? '', /^127\.0\.0\.1:\d+$/)
  assert.ok(api.requesters[0]?.subject)
  secure.destroy()

  const nobody = connect({ host: '127.0.0.1', port })
  nobody.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  await once(nobody, 'close')
})
