import { badRequest, notImplemented } from '../core/errors.ts'
import { sparingDisk } from '../engine/images/fullDisk.ts'
import { importImage } from '../engine/images/import.ts'
import { pullImages } from '../engine/images/pull.ts'
import { isDigest } from '../oci/digest.ts'
import { parsePlatform } from '../oci/platform.ts'
import { familiar, parseReference, type Reference } from '../oci/reference.ts'
import { progressLines } from './progressLines.ts'
import { registryAuth } from './registryAuth.ts'
import { repositoryTag } from './repositoryTag.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/images/create`: images from elsewhere. */

const platformOf = ({ query, version }: Call) => {
  const text = version.atLeast('1.32') ? (query.get('platform') ?? '') : ''
  if (text === '') return undefined
  const platform = parsePlatform(text)
  if (!platform) throw badRequest(`unknown operating system or architecture: ${JSON.stringify(text)}`)
  return platform
}

/** `fromImage` and `tag`, which may be a digest; without either of them all tags are meant. */
const pulledName = ({ query }: Call): Reference => {
  // Clients that want all tags send a colon without one.
  const { domain, path, ...given } = parseReference((query.get('fromImage') ?? '').replace(/:$/, ''))
  const tag = query.get('tag') ?? ''
  if (tag === '') return { domain, path, ...given }
  if (isDigest(tag)) return { domain, path, digest: tag }
  return parseReference(`${domain}/${path}:${tag}`)
}

const pull = async (call: Call): Promise<undefined> => {
  const name = pulledName(call)
  const platform = platformOf(call)
  const credentials = registryAuth(call)
  const what = {
    verb: 'pull',
    subject: { type: 'image', id: '', name: familiar(name) },
    endsWithClient: true,
  }
  return await progressLines(call, report =>
    tracked(call, what, operation =>
      sparingDisk(call.engine, () =>
        pullImages(call.engine, { name, platform, credentials, operation, report }),
      ),
    ),
  )
}

const create = async (call: Call): Promise<undefined> => {
  const { engine, query, req, res } = call
  if (query.get('fromImage')) return await pull(call)
  const source = query.get('fromSrc') ?? ''
  const name = repositoryTag(query)
  const platform = platformOf(call)
  if (source === '') throw badRequest('neither an image (fromImage) nor a source (fromSrc) was given')
  if (source !== '-')
    throw notImplemented('importing an image from a URL (fetch it and give it to `docker import -`)')
  const request = {
    source: req,
    name,
    platform,
    message: query.get('message') || `Imported from ${source}`,
    changes: query.all('changes'),
  }
  const subject = { type: 'image', id: '', name: name ? familiar(name) : '' }
  const image = await tracked(call, { verb: 'import', subject, endsWithClient: true }, operation =>
    importImage(engine, { ...request, operation }),
  )
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.end(`${JSON.stringify({ status: image.id })}\r\n`)
  return undefined
}

export const imageSourceRoutes: Route[] = [
  {
    method: 'POST',
    path: '/images/create',
    operation: 'ImageCreate',
    lacks: 'import from a URL',
    handle: create,
  },
]
