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
