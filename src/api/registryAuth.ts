import { badRequest, messageOf } from '../core/errors.ts'
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

type Header = 'X-Registry-Auth' | 'X-Registry-Config'

const invalid = (header: Header, why: string): Error =>
  badRequest(`invalid ${header} header: ${why}; for no credentials, leave it out or send e30=`)

/** Of either alphabet, padded or not. */
const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/

/** What a header's text holds, read by `read`. Errors: `bad-request`. */
const decoded = <T>(header: Header, given: string, read: (value: unknown) => T): T | undefined => {
  const text = given.trim()
  if (text === '') return undefined
  if (!base64.test(text)) throw invalid(header, 'must be a valid base64url-encoded string')
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    throw invalid(header, 'invalid JSON')
  }
  try {
    return read(value)
  } catch (error) {
    throw invalid(header, `invalid JSON: ${messageOf(error)}`)
  }
}

const headerOf = ({ req }: Call, header: Header): string =>
  [req.headers[header.toLowerCase()] ?? ''].flat()[0] ?? ''

/** What the text of `X-Registry-Auth` holds. Errors: `bad-request`. */
export const decodeRegistryAuth = (text: string): Credentials | undefined =>
  decoded('X-Registry-Auth', text, credentialsOf)

/** The header `X-Registry-Auth`: JSON in base64. Errors: `bad-request`. */
export const registryAuth = (call: Call): Credentials | undefined =>
  decodeRegistryAuth(headerOf(call, 'X-Registry-Auth'))

const hubNames = ['index.docker.io', 'registry-1.docker.io', 'docker.io']

/** `https://index.docker.io/v1/`, `localhost:5000`: the registry's name as references have it. */
const registryOf = (address: string): string => {
  const host = address.replace(/^https?:\/\//, '').split('/')[0] ?? ''
  return hubNames.includes(host) ? 'docker.io' : host
}

/** By the registry that is named beside them. */
const named = (value: unknown): [string, Credentials | undefined][] => {
  const credentials = credentialsOf(value)
  const address = credentials ? textOf(value as Record<string, unknown>, 'serveraddress') : ''
  return address === '' ? [] : [[registryOf(address), credentials]]
}

const listed = (value: unknown): [string, Credentials | undefined][] =>
  Object.entries(value ?? {}).map(([address, one]) => [registryOf(address), credentialsOf(one)])

/**
 * Credentials by registry, for what speaks to several: `X-Registry-Config` has
 * them by address, `X-Registry-Auth` counts for the `serveraddress` that it names.
 * Errors: `bad-request`.
 */
export const registryCredentials = (call: Call): ((registry: string) => Credentials | undefined) => {
  const known = new Map([
    ...(decoded('X-Registry-Auth', headerOf(call, 'X-Registry-Auth'), named) ?? []),
    ...(decoded('X-Registry-Config', headerOf(call, 'X-Registry-Config'), listed) ?? []),
  ])
  return registry => known.get(registry)
}
