import type { Credentials } from '../registry-client/types.ts'
import type { Call } from './route.ts'

const textOf = (record: Record<string, unknown>, key: string): string => {
  const value = record[key]
  return typeof value === 'string' ? value : ''
}

/** What a client's JSON says of itself; undefined where it says nothing. */
export const credentialsOf = (value: unknown): Credentials | undefined => {
  if (typeof value !== 'object' || value === null) return undefined
  const record = value as Record<string, unknown>
  const credentials = {
    username: textOf(record, 'username'),
    password: textOf(record, 'password'),
    identityToken: textOf(record, 'identitytoken'),
    registryToken: textOf(record, 'registrytoken'),
  }
  return Object.values(credentials).some(Boolean) ? credentials : undefined
}

/** The header `X-Registry-Auth`: JSON in base64 for URLs. A wrong one counts as none, as Docker does. */
export const registryAuth = ({ req }: Call): Credentials | undefined => {
  const header = req.headers['x-registry-auth']
  if (typeof header !== 'string' || header === '') return undefined
  try {
    return credentialsOf(JSON.parse(Buffer.from(header, 'base64url').toString('utf8')))
  } catch {
    return undefined
  }
}

const hubNames = ['index.docker.io', 'registry-1.docker.io', 'docker.io']

/** `https://index.docker.io/v1/`, `localhost:5000`: the registry's name as references have it. */
const registryOf = (address: string): string => {
  const host = address.replace(/^https?:\/\//, '').split('/')[0] ?? ''
  return hubNames.includes(host) ? 'docker.io' : host
}

const parsed = (header: string | string[] | undefined): Record<string, unknown> => {
  try {
    const value: unknown = JSON.parse(Buffer.from(String(header ?? ''), 'base64url').toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/**
 * Credentials by registry, for what speaks to several: `X-Registry-Config` has
 * them by address, `X-Registry-Auth` counts for the `serveraddress` that it names.
 */
export const registryCredentials = ({ req }: Call): ((registry: string) => Credentials | undefined) => {
  const known = new Map<string, Credentials | undefined>()
  const auth = parsed(req.headers['x-registry-auth'])
  if (textOf(auth, 'serveraddress')) known.set(registryOf(textOf(auth, 'serveraddress')), credentialsOf(auth))
  for (const [address, value] of Object.entries(parsed(req.headers['x-registry-config'])))
    known.set(registryOf(address), credentialsOf(value))
  return registry => known.get(registry)
}
