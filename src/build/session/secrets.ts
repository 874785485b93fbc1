import { create } from '@bufbuild/protobuf'
import { BerthError, hasCode } from '../../core/errors.ts'
import { GetSecretRequestSchema, Secrets } from '../../wire/buildkit/secrets_pb.ts'
import type { Session } from './session.ts'

/** As BuildKit's clients give them at most: 500 KB, and the message around it. Bytes. */
const limit = 512 * 1000

const notFound = (id: string, cause: unknown): BerthError =>
  new BerthError('secret-not-found', 404, `secret ${id}: not found`, { cause })

/** The value of a secret of the client. Errors: `secret-not-found`; those of a call. */
export const getSecret = async (session: Session, id: string, signal: AbortSignal): Promise<Uint8Array> => {
  try {
    const request = create(GetSecretRequestSchema, { id })
    return (await session.unary(Secrets.method.getSecret, request, { signal, limit })).data
  } catch (error) {
    throw hasCode(error, 'not-found') || hasCode(error, 'unimplemented') ? notFound(id, error) : error
  }
}
