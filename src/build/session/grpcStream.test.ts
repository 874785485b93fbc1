import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { patience } from '../../../tests/harness/shell.ts'
import { type BytesMessage, BytesMessageSchema } from '../../wire/buildkit/control_pb.ts'
import { bytesDuplex } from './bytesDuplex.ts'
import { Sessions } from './sessions.ts'
import { socketPair } from './testing/client.ts'

const signal = AbortSignal.timeout(30_000 * patience)

/** A frame of HTTP/2 (RFC 9113, 4.1). */
const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A field without any table (RFC 7541, 6.2.2). */
const field = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)])

const [data, headers, reset, settings] = [0, 1, 3, 4]
const [endStream, endHeaders] = [1, 4]
const ok = Buffer.of(0x88)

async function* messagesOf(socket: Socket): AsyncGenerator<BytesMessage> {
  for await (const bytes of socket) yield create(BytesMessageSchema, { data: bytes })
}

test('a call that is reset with its last frame has the status that came with it', async () => {
  const [near, far] = await socketPair()
  // As a session comes that is messages of a call.
  const { socket, outgoing } = bytesDuplex(messagesOf(near))
  void (async () => {
    for await (const { data: bytes } of outgoing) near.write(bytes)
  })()
  await using sessions = new Sessions()
  const session = sessions.open({ socket, id: 'x', name: '', sharedKey: '', methods: [] })
  far.on('error', () => {}).resume()
  far.write(frame(settings, 0, 0, Buffer.alloc(0)))
  for (const [id, code] of [
    [1, '0'],
    [3, '5'],
  ] as const) {
    using call = session.stream('/some.Service/Call', { signal })
    const chunks = call.chunks()
    const first = chunks.next()
    far.write(frame(headers, endHeaders, id, Buffer.concat([ok, field('content-type', 'application/grpc')])))
    far.write(frame(data, 0, id, Buffer.from('bytes')))
    assert.equal(String((await first).value), 'bytes')
    const last = chunks.next()
    far.write(
      Buffer.concat([
        frame(headers, endHeaders | endStream, id, field('grpc-status', code)),
        frame(reset, 0, id, Buffer.alloc(4)),
      ]),
    )
    if (code === '0') assert.equal((await last).done, true)
    else await assert.rejects(last, { code: 'not-found' })
  }
  far.destroy()
})
