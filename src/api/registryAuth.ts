import { badRequest } from '../core/errors.ts'
import type { Credentials } from '../registry-client/types.ts'
import type { Call } from './route.ts'

/** Credentials as clients send them. No error shows what came: it may be a secret. */

const textOf = (record: Record<string, unknown>, key: string): string => {
  const value = record[key] ?? ''
  if (typeof value !== 'string') throw badRequest(`${key} must be a text`)
  return value
}

/** What a client's JSON says of itself; undefined where it says nothing. Errors: `bad-request` for another type. */
export const credentialsOf = (value: unknown): Credentials | undefined => {
  if (value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) throw badRequest('want an object')
  const record = value as Record<string, unknown>
  const credentials = {
    username: textOf(record, 'username'),
    password: textOf(record, 'password'),
    identityToken: textOf(record, 'identitytoken'),
    registryToken: textOf(record, 'registrytoken'),
  }
  return Object.values(credentials).some(Boolean) ? credentials : undefined
}

const invalid = (why: string): Error =>
  badRequest(`invalid X-Registry-Auth header: ${why}; for no credentials, leave it out or send e30=`)

/** Of either alphabet, padded or not. */
const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/

const parsed = (header: string): unknown => {
  if (!base64.test(header)) throw invalid('must be a valid base64url-encoded string')
  try {
    return JSON.parse(Buffer.from(header, 'base64url').toString('utf8'))
  } catch {
    throw invalid('invalid JSON')
  }
}

/** What the header's text holds. Errors: `bad-request`. */
export const decodeRegistryAuth = (header: string): Credentials | undefined => {
  const text = header.trim()
  if (text === '') return undefined
  const value = parsed(text)
  try {
    return credentialsOf(value)
  } catch (error) {
    throw invalid(`invalid JSON: ${error instanceof Error ? error.message : ''}`)
  }
}

/** The header `X-Registry-Auth`: JSON in base64. Errors: `bad-request`. */
export const registryAuth = ({ req }: Call): Credentials | undefined =>
  decodeRegistryAuth([req.headers['x-registry-auth'] ?? ''].flat()[0] ?? '')
