import { badRequest, messageOf } from '../core/errors.ts'
import { normalizePlatform, type Platform } from '../oci/platform.ts'
import type { Call } from './route.ts'

/** Platforms in queries: JSON of the OCI specification's shape. */

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter(entry => typeof entry === 'string') : []

const field = (fields: Record<string, unknown>, name: string): string => {
  const value = fields[name] ?? ''
  if (typeof value !== 'string') throw badRequest(`failed to parse platform: ${name} is not a string`)
  return value
}

const parse = (text: string): Record<string, unknown> => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw badRequest(`failed to parse platform: ${messageOf(error)}`, error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest('failed to parse platform: it is no JSON object')
  return value as Record<string, unknown>
}

/** Errors: `bad-request` in Docker's words. */
export const decodePlatform = (text: string): Platform => {
  const fields = parse(text)
  const os = field(fields, 'os')
  const architecture = field(fields, 'architecture')
  const variant = field(fields, 'variant')
  const version = field(fields, 'os.version')
  const features = texts(fields['os.features'])
  if (os === '' && architecture === '' && (variant || version || features.length > 0))
    throw badRequest('optional platform fields provided, but OS and Architecture are missing')
  if (os === '' || architecture === '') throw badRequest('both OS and Architecture must be provided')
  return normalizePlatform({
    os,
    architecture,
    ...(variant ? { variant } : {}),
    ...(version ? { 'os.version': version } : {}),
    ...(features.length > 0 ? { 'os.features': features } : {}),
  })
}

/** The one platform that may be asked for, from an API version on. */
export const platformSince = ({ query, version }: Call, since: string): Platform | undefined => {
  const text = version.atLeast(since) ? (query.get('platform') ?? '') : ''
  return text === '' ? undefined : decodePlatform(text)
}

/** `platform`, once from 1.48 on and as often as wanted from 1.52 on. */
export const platformList = ({ query, version }: Call): Platform[] => {
  const given = version.atLeast('1.48') ? query.all('platform') : []
  if (given.length > 1 && !version.atLeast('1.52'))
    throw badRequest(
      'multiple platform parameters are not supported in this API version; use API version 1.52 or later',
    )
  return given.map(decodePlatform)
}
