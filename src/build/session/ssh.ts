import { Duplex } from 'node:stream'
import { create } from '@bufbuild/protobuf'
import { BytesMessageSchema, CheckAgentRequestSchema, SSH } from '../../wire/buildkit/ssh_pb.ts'
import type { GrpcStream } from './grpcStream.ts'
import { bytesOf, pieces, pushNext } from './messageBytes.ts'
import { pathOf, type Session } from './session.ts'

/** The client's ssh agents. An id that is empty is `default`. */

const idOf = (id: string): string => (id === '' ? 'default' : id)

/** Messages of an agent are small. Bytes. */
const pieceSize = 32 * 1024

/** Errors: those of a call, where the client has no agent of the id. */
export const checkAgent = async (session: Session, id: string, signal: AbortSignal): Promise<void> => {
  await session.unary(SSH.method.checkAgent, create(CheckAgentRequestSchema, { id: idOf(id) }), { signal })
}

const sendPieces = async (stream: GrpcStream, bytes: Buffer): Promise<void> => {
  for (const data of pieces(bytes, pieceSize))
    await stream.send(BytesMessageSchema, create(BytesMessageSchema, { data }))
}

/** One connection to an agent. It ends with either side; an error of the call is the stream's. */
export const forwardAgent = (session: Session, id: string, signal: AbortSignal): Duplex => {
  const stream = session.stream(pathOf(SSH.method.forwardAgent), {
    metadata: { 'buildkit.ssh.id': [idOf(id)] },
    signal,
  })
  const bytes = bytesOf(stream.messages(BytesMessageSchema))
  return new Duplex({
    read() {
      pushNext(this, bytes)
    },
    write(written: Buffer, _encoding, done) {
      sendPieces(stream, written).then(() => done(), done)
    },
    final(done) {
      stream.endSending()
      done()
    },
    destroy(error, done) {
      stream.close()
      done(error)
    },
  })
}
