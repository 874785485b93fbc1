import { badRequest, messageOf } from '../core/errors.ts'
import { pushImages } from '../engine/images/push.ts'
import { normalizePlatform, type Platform } from '../oci/platform.ts'
import { familiar, parseReference, type Reference } from '../oci/reference.ts'
import { progressLines } from './progressLines.ts'
import { registryAuth } from './registryAuth.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/images/{name}/push` */

/** The tag comes beside the name; without one the name is taken as it is. */
const pushedName = ({ params, query }: Call): Reference => {
  const name = parseReference(params['name'] ?? '')
  const tag = query.get('tag') ?? ''
  if (tag === '') return name
  if (name.digest) throw badRequest('cannot import digest reference')
  return parseReference(`${name.domain}/${name.path}:${tag}`)
}

const parsed = (text: string): object => {
  try {
    const value = JSON.parse(text) as unknown
    if (typeof value === 'object' && value !== null) return value
  } catch (error) {
    throw badRequest(`failed to parse platform: ${messageOf(error)}`)
  }
  throw badRequest('failed to parse platform: want {"os": "linux", "architecture": "amd64"}')
}

/** JSON of a platform of OCI. Clients before 1.46 may send what was not meant. */
const pushedPlatform = ({ query, version }: Call): Platform | undefined => {
  const text = query.get('platform') ?? ''
  if (text === '' || !version.atLeast('1.46')) return undefined
  const value = parsed(text) as Record<string, unknown>
  const field = (name: string): string => {
    const found = value[name] ?? ''
    if (typeof found !== 'string') throw badRequest(`failed to parse platform: ${name} must be a text`)
    return found
  }
  const [os, architecture, variant] = [field('os'), field('architecture'), field('variant')]
  if (os === '' && architecture === '' && (variant !== '' || field('os.version') !== ''))
    throw badRequest('optional platform fields provided, but OS and Architecture are missing')
  if (os === '' || architecture === '') throw badRequest('both OS and Architecture must be provided')
  return normalizePlatform({ os, architecture, ...(variant ? { variant } : {}) })
}

const push = async (call: Call): Promise<undefined> => {
  const name = pushedName(call)
  const platform = pushedPlatform(call)
  const credentials = registryAuth(call)
  const what = {
    verb: 'push',
    subject: { type: 'image', id: '', name: familiar(name) },
    endsWithClient: true,
  }
  return await progressLines(call, report =>
    tracked(call, what, operation =>
      pushImages(call.engine, { name, platform, credentials, operation, report }),
    ),
  )
}

export const pushRoutes: Route[] = [
  { method: 'POST', path: '/images/{name}/push', operation: 'ImagePush', handle: push },
]
