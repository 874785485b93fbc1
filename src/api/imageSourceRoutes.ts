import { badRequest, notImplemented } from '../core/errors.ts'
import { importImage } from '../engine/images/import.ts'
import { parsePlatform } from '../oci/platform.ts'
import { familiar } from '../oci/reference.ts'
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

const create = async (call: Call): Promise<undefined> => {
  const { engine, query, req, res } = call
  if (query.get('fromImage'))
    throw notImplemented('pulling an image from a registry (load one with `docker load`)')
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
    lacks: 'pull from a registry, import from a URL',
    handle: create,
  },
]
