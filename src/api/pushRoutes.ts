import { badRequest } from '../core/errors.ts'
import { pushImages } from '../engine/images/push.ts'
import { familiar, parseReference, type Reference } from '../oci/reference.ts'
import { platformSince } from './platformQuery.ts'
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

const push = async (call: Call): Promise<undefined> => {
  const name = pushedName(call)
  // Clients before 1.46 may send what was not meant.
  const platform = platformSince(call, '1.46')
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
