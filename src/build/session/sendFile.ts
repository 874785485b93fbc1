import { create } from '@bufbuild/protobuf'
import { BerthError } from '../../core/errors.ts'
import { BytesMessageSchema, FileSend } from '../../wire/buildkit/filesync_pb.ts'
import type { GrpcStream } from './grpcStream.ts'
import { pieces } from './messageBytes.ts'
import { pathOf, type Session } from './session.ts'

/** What a build gives, to the client: one file, an archive mostly. */

const method = pathOf(FileSend.method.diffCopy)

/** The call that takes what an exporter gives. Errors: `bad-request` where the client takes nothing. */
export const openExport = (
  session: Session,
  {
    exporter,
    fields = {},
    isWhole = false,
  }: { exporter: number; fields?: Record<string, string>; isWhole?: boolean },
  signal: AbortSignal,
): GrpcStream => {
  if (!session.supports(method))
    throw new BerthError('bad-request', 400, `method ${method} not supported by the client`)
  const told = Object.entries(fields).map(([name, value]) => [`exporter-md-${name}`.toLowerCase(), [value]])
  return session.stream(method, {
    metadata: {
      ...Object.fromEntries(told),
      'buildkit-attachable-exporter-id': [String(exporter)],
      ...(isWhole ? { 'buildkit-exporter-multi-platform': ['1'] } : {}),
    },
    signal,
  })
}

/** Reads to the client's end: only then has it kept everything. */
export const awaitEnd = async (stream: GrpcStream): Promise<void> => {
  stream.endSending()
  for await (const _ of stream.chunks());
}

/**
 * Sends a file to the exporter of a number. `fields`: what the client is told of
 * it, as `containerimage.digest`. Errors: `conflict` where the client has such a
 * file; those of a call, of `bytes`.
 */
export const sendFile = async (
  session: Session,
  file: { exporter: number; fields?: Record<string, string>; bytes: AsyncIterable<Uint8Array> },
  signal: AbortSignal,
): Promise<void> => {
  using stream = openExport(session, file, signal)
  for await (const chunk of file.bytes)
    for (const data of pieces(chunk))
      await stream.send(BytesMessageSchema, create(BytesMessageSchema, { data }))
  await awaitEnd(stream)
}
