import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { writeTar } from '../archive/writer.ts'
import { asBerthError, badRequest } from '../core/errors.ts'
import { imageAttestations } from '../engine/images/attestations.ts'
import { imageHistory, inspectImage } from '../engine/images/inspect.ts'
import { imageFilters, imageSummary, selectImages, versionedSummary } from '../engine/images/list.ts'
import { type LoadProgress, loadImages } from '../engine/images/load.ts'
import { pruneFilters, pruneImages } from '../engine/images/prune.ts'
import { removeImage } from '../engine/images/remove.ts'
import { saveImages } from '../engine/images/save.ts'
import { chooseSaved } from '../engine/images/saved.ts'
import { familiar, parseReference, withDefaultTag } from '../oci/reference.ts'
import { Filters } from '../wire/filters.ts'
import { decodePlatform, platformList, platformSince } from './platformQuery.ts'
import type { Answer, Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/images` */

const named = ({ params }: Call): string => params['name'] ?? ''

/** A stream of JSON lines whose errors come as a last line, whatever came before. */
const streamProgress = async (
  { res, signal }: Call,
  work: (report: (line: object) => void) => Promise<void>,
): Promise<undefined> => {
  res.setHeader('Content-Type', 'application/json')
  const report = (line: object): void => void res.write(`${JSON.stringify(line)}\r\n`)
  try {
    await work(report)
  } catch (error) {
    const { message, status } = asBerthError(error)
    report({ errorDetail: { code: status, message }, error: message })
  }
  if (res.writableNeedDrain && !signal.aborted) await once(res, 'drain', { signal })
  res.end()
}

const allImages = { type: 'images', id: '', name: '' }

const load = (call: Call): Promise<undefined> => {
  const quiet = call.query.flag('quiet', true)
  const platforms = platformList(call)
  const what = { verb: 'load', subject: allImages, endsWithClient: true }
  return streamProgress(call, report =>
    tracked(call, what, operation =>
      loadImages(call.engine, call.req, {
        operation,
        platforms,
        report: (line: LoadProgress) => {
          if (line.stream !== undefined || !quiet) report(line)
        },
      }),
    ),
  )
}

const save = async (call: Call, names: readonly string[]): Promise<undefined> => {
  const { engine, res } = call
  if (names.length === 0) throw badRequest('no image was named')
  const chosen = chooseSaved(engine, names, platformList(call))
  res.writeHead(200, { 'Content-Type': 'application/x-tar' })
  const subject = { type: 'images', id: '', name: names.join(' ') }
  await tracked(call, { verb: 'save', subject, endsWithClient: true }, ({ signal }) =>
    pipeline(
      Readable.from(writeTar(saveImages(engine, chosen)), { objectMode: false, highWaterMark: 1 << 20 }),
      res,
      { signal },
    ),
  )
  for (const {
    image,
    names: [name = image.id],
  } of chosen)
    engine.events.publish('image', 'save', image.id, { name })
  return undefined
}

const list = async ({ engine, query, version }: Call): Promise<Answer> => {
  const filters = Filters.parse(query.get('filters'), imageFilters)
  const manifests = version.atLeast('1.47') && query.flag('manifests')
  const identity = version.atLeast('1.54') && query.flag('identity')
  if (identity && !manifests) throw badRequest('conflicting options: identity requires manifests=1')
  const options = {
    sharedSize: version.atLeast('1.42') && query.flag('shared-size'),
    manifests,
    identity,
    references: filters.get('reference'),
  }
  const selected = selectImages(engine, filters, query.flag('all'))
  const summaries = await Promise.all(selected.map(entry => imageSummary(engine, entry, options)))
  return { json: summaries.map(summary => versionedSummary(summary, version)) }
}

const inspect = async (call: Call): Promise<Answer> => {
  const { engine, query, version } = call
  const manifests = version.atLeast('1.48') && query.flag('manifests')
  const platform = platformSince(call, '1.49')
  if (manifests && platform)
    throw badRequest('conflicting options: manifests and platform options cannot both be set')
  const found = engine.images.resolve(named(call), platform)
  const options = { version, manifests, isPlatform: platform !== undefined }
  return { json: await inspectImage(engine, found, options) }
}

const remove = async (call: Call): Promise<Answer> => {
  const { engine, query, version } = call
  const name = named(call)
  if (name.trim() === '') throw badRequest('image name cannot be blank')
  const platforms = version.atLeast('1.50') ? query.all('platforms').map(decodePlatform) : []
  const options = { force: query.flag('force'), noprune: query.flag('noprune'), platforms }
  const subject = { type: 'image', id: engine.images.get(name).id, name }
  const json = await tracked(call, { verb: 'rm', subject }, operation =>
    removeImage(engine, name, { ...options, operation }),
  )
  return { json }
}

const attestations = async (call: Call): Promise<Answer> => {
  const { engine, query, version } = call
  if (!version.atLeast('1.55'))
    throw badRequest('GET /images/{name:.*}/attestations requires minimum API version 1.55')
  if (query.all('platform').length > 1) throw badRequest('only one platform value is currently supported')
  const types = query.all('type').flatMap(type => type.trim() || [])
  const request = {
    platform: platformSince(call, '1.55'),
    types,
    statement: query.flag('statement'),
  }
  return { json: await imageAttestations(engine, named(call), request) }
}

export const imageRoutes: Route[] = [
  {
    method: 'GET',
    path: '/images/json',
    operation: 'ImageList',
    handle: list,
  },
  {
    method: 'GET',
    path: '/images/{name}/json',
    operation: 'ImageInspect',
    handle: inspect,
  },
  {
    method: 'GET',
    path: '/images/{name}/history',
    operation: 'ImageHistory',
    handle: async call => ({
      json: await imageHistory(call.engine, call.engine.images.get(named(call), platformSince(call, '1.48'))),
    }),
  },
  {
    method: 'GET',
    path: '/images/{name}/attestations',
    operation: 'ImageAttestations',
    handle: attestations,
  },
  {
    method: 'POST',
    path: '/images/{name}/tag',
    operation: 'ImageTag',
    handle: async call => {
      const { engine, query } = call
      const repository = query.get('repo') ?? ''
      const tag = query.get('tag')
      const name = withDefaultTag(parseReference(tag ? `${repository}:${tag}` : repository))
      if (familiar(name).startsWith('sha256:'))
        throw badRequest('refusing to create an ambiguous tag using digest algorithm as name')
      const found = engine.images.resolve(named(call))
      await engine.images.tag(found, name)
      engine.events.publish('image', 'tag', found.image.id, { name: familiar(name) })
      return { status: 201 }
    },
  },
  {
    method: 'DELETE',
    path: '/images/{name}',
    operation: 'ImageDelete',
    handle: remove,
  },
  {
    method: 'POST',
    path: '/images/prune',
    operation: 'ImagePrune',
    handle: async call => {
      const { engine, query } = call
      const filters = Filters.parse(query.get('filters'), pruneFilters)
      const result = await tracked(call, { verb: 'prune', subject: allImages }, operation =>
        pruneImages(engine, filters, operation),
      )
      engine.events.publish('image', 'prune', '', { reclaimed: String(result.SpaceReclaimed) })
      return { json: { ...result, ImagesDeleted: result.ImagesDeleted.length ? result.ImagesDeleted : null } }
    },
  },
  {
    method: 'POST',
    path: '/images/load',
    operation: 'ImageLoad',
    handle: load,
  },
  {
    method: 'GET',
    path: '/images/get',
    operation: 'ImageGetAll',
    handle: call =>
      save(
        call,
        call.query.all('names').flatMap(names => names.split(',')),
      ),
  },
  {
    method: 'GET',
    path: '/images/{name}/get',
    operation: 'ImageGet',
    handle: call => save(call, [named(call)]),
  },
]
