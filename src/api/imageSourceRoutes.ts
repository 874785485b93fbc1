import { badRequest } from '../core/errors.ts'
import { sparingDisk } from '../engine/images/fullDisk.ts'
import { type ImportRequest, importImage } from '../engine/images/import.ts'
import { importFromUrl, importUrlOf, shownAddress } from '../engine/images/importUrl.ts'
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

const importOf = ({ name }: { name: Reference | undefined }) => ({
  verb: 'import',
  subject: { type: 'image', id: '', name: name ? familiar(name) : '' },
  endsWithClient: true,
})

type Given = Omit<ImportRequest, 'source' | 'operation'>

const importBody = async (call: Call, given: Given): Promise<undefined> => {
  const { engine, req, res } = call
  const image = await tracked(call, importOf(given), operation =>
    importImage(engine, { ...given, source: req, operation }),
  )
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.end(`${JSON.stringify({ status: image.id })}\r\n`)
  return undefined
}

const create = async (call: Call): Promise<undefined> => {
  const { engine, query } = call
  if (query.get('fromImage')) return await pull(call)
  const source = query.get('fromSrc') ?? ''
  const name = repositoryTag(query)
  const platform = platformOf(call)
  if (source === '') throw badRequest('neither an image (fromImage) nor a source (fromSrc) was given')
  const given = { name, platform, changes: query.all('changes') }
  const message = query.get('message')
  if (source === '-') return await importBody(call, { ...given, message: message || 'Imported from -' })
  const url = importUrlOf(source)
  const request = { ...given, url, message: message || `Imported from ${shownAddress(url)}` }
  return await progressLines(call, report =>
    tracked(call, importOf(given), async operation => {
      await importFromUrl(engine, { ...request, report, operation })
    }),
  )
}

export const imageSourceRoutes: Route[] = [
  {
    method: 'POST',
    path: '/images/create',
    operation: 'ImageCreate',
    handle: create,
  },
]
