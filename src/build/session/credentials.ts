import { createPublicKey, randomBytes, timingSafeEqual, verify } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import { BerthError, unlessCode } from '../../core/errors.ts'
import type { Credentials } from '../../registry-client/types.ts'
import {
  Auth,
  CredentialsRequestSchema,
  FetchTokenRequestSchema,
  GetTokenAuthorityRequestSchema,
  VerifyTokenAuthorityRequestSchema,
} from '../../wire/buildkit/auth_pb.ts'
import type { Session } from './session.ts'

/** What a client has for registries: passwords, or tokens that it fetches itself and gives. */

/** A client may have to ask its user's key store. Milliseconds. */
const patience = 60_000

const bounded = (signal: AbortSignal): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(patience)])

/** Undefined where the client has none for the host. Errors: those of a call. */
export const credentialsOf = async (
  session: Session,
  host: string,
  signal: AbortSignal,
): Promise<Credentials | undefined> => {
  const request = create(CredentialsRequestSchema, { host })
  const answer = await unlessCode(
    session.unary(Auth.method.credentials, request, { signal: bounded(signal) }),
    'unimplemented',
  )
  if (!answer || answer.secret === '') return undefined
  const { username, secret } = answer
  return username === ''
    ? { username: '', password: '', identityToken: secret, registryToken: '' }
    : { username, password: secret, identityToken: '', registryToken: '' }
}

export interface TokenWanted {
  clientId: string
  host: string
  realm: string
  service: string
  scopes: string[]
}

/** A token that the client fetches from the registry's token server. Times in seconds; `issuedAt` 0 where it is not told. */
export const fetchToken = async (
  session: Session,
  wanted: TokenWanted,
  signal: AbortSignal,
): Promise<{ token: string; expiresIn: number; issuedAt: number }> => {
  const request = create(FetchTokenRequestSchema, wanted)
  const answer = await session.unary(Auth.method.fetchToken, request, { signal: bounded(signal) })
  return { token: answer.token, expiresIn: Number(answer.expiresIn), issuedAt: Number(answer.issuedAt) }
}

/** Keys of clients change with the daemon's run. */
const salt = randomBytes(32)

const keyLength = 32
const signatureLength = 64

/**
 * The key by which a client is known again that fetches tokens for a host, so
 * that those of one client are given to no other. Undefined where it fetches none.
 */
export const tokenAuthority = async (
  session: Session,
  host: string,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> => {
  const request = create(GetTokenAuthorityRequestSchema, { host, salt })
  const answer = await unlessCode(
    session.unary(Auth.method.getTokenAuthority, request, { signal: bounded(signal) }),
    'unimplemented',
    'unavailable',
  )
  if (answer && answer.publicKey.length !== keyLength)
    throw new BerthError('bad-message', 400, `invalid pubkey length ${answer.publicKey.length}`)
  return answer?.publicKey
}

/** Ed25519, as NaCl's `sign` joins them: the signature, then what is signed. */
const isSignedBy = (publicKey: Uint8Array, signed: Uint8Array, payload: Uint8Array): boolean => {
  const said = signed.subarray(signatureLength)
  if (said.length !== payload.length || !timingSafeEqual(said, payload)) return false
  const x = Buffer.from(publicKey).toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return verify(null, payload, key, signed.subarray(0, signatureLength))
}

/** Whether the client has the key that `tokenAuthority` told. */
export const hasTokenAuthority = async (
  session: Session,
  { host, publicKey }: { host: string; publicKey: Uint8Array },
  signal: AbortSignal,
): Promise<boolean> => {
  const payload = randomBytes(keyLength)
  const request = create(VerifyTokenAuthorityRequestSchema, { host, salt, payload })
  const answer = await unlessCode(
    session.unary(Auth.method.verifyTokenAuthority, request, { signal: bounded(signal) }),
    'unimplemented',
  )
  return answer !== undefined && isSignedBy(publicKey, answer.signed, payload)
}
