import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { writeTar } from '../archive/writer.ts'
import { asBerthError, badRequest } from '../core/errors.ts'
import { imageHistory, inspectImage } from '../engine/images/inspect.ts'
import { imageFilters, imageSummary, selectImages } from '../engine/images/list.ts'
import { type LoadProgress, loadImages } from '../engine/images/load.ts'
import { pruneImages, removeImage } from '../engine/images/remove.ts'
import { saveImages } from '../engine/images/save.ts'
import { familiar, parseReference, withDefaultTag } from '../oci/reference.ts'
import { Filters } from '../wire/filters.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/images` */

const image = (call: Call) => call.engine.images.get(call.params['name'] ?? '')

/** A stream of JSON lines whose errors come as a last line, as the status is out by then. */
const streamProgress = async (
  { res, signal }: Call,
  work: (report: (line: object) => void) => Promise<void>,
): Promise<undefined> => {
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
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
  const quiet = call.query.flag('quiet')
  const what = { verb: 'load', subject: allImages, endsWithClient: true }
  return streamProgress(call, report =>
    tracked(call, what, operation =>
      loadImages(call.engine, call.req, {
        operation,
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
  for (const name of names) engine.images.get(name)
  res.writeHead(200, { 'Content-Type': 'application/x-tar' })
  const subject = { type: 'images', id: '', name: names.join(' ') }
  await tracked(call, { verb: 'save', subject, endsWithClient: true }, ({ signal }) =>
    pipeline(
      Readable.from(writeTar(saveImages(engine, names)), { objectMode: false, highWaterMark: 1 << 20 }),
      res,
      { signal },
    ),
  )
  for (const name of names) engine.events.publish('image', 'save', engine.images.get(name).id, { name })
  return undefined
}

export const imageRoutes: Route[] = [
  {
    method: 'GET',
    path: '/images/json',
    operation: 'ImageList',
    handle: async ({ engine, query }) => {
      const filters = Filters.parse(query.get('filters'), imageFilters)
      const options = {
        sharedSize: query.flag('shared-size'),
        manifests: query.flag('manifests'),
        references: filters.get('reference'),
      }
      const selected = selectImages(engine, filters, query.flag('all'))
      return { json: await Promise.all(selected.map(entry => imageSummary(engine, entry, options))) }
    },
  },
  {
    method: 'GET',
    path: '/images/{name}/json',
    operation: 'ImageInspect',
    lacks: 'the choice of a platform',
    handle: async call => ({
      json: await inspectImage(call.engine, image(call), {
        version: call.version,
        manifests: call.query.flag('manifests'),
      }),
    }),
  },
  {
    method: 'GET',
    path: '/images/{name}/history',
    operation: 'ImageHistory',
    handle: async call => ({ json: await imageHistory(call.engine, image(call)) }),
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
      const target = image(call)
      await engine.images.tag(target, name)
      engine.events.publish('image', 'tag', target.id, { name: familiar(name) })
      return { status: 201 }
    },
  },
  {
    method: 'DELETE',
    path: '/images/{name}',
    operation: 'ImageDelete',
    lacks: 'the choice of platforms',
    handle: async call => {
      const { engine, query } = call
      const name = call.params['name'] ?? ''
      const options = { force: query.flag('force'), noprune: query.flag('noprune') }
      const subject = { type: 'image', id: image(call).id, name }
      const json = await tracked(call, { verb: 'rm', subject }, operation =>
        removeImage(engine, name, { ...options, operation }),
      )
      return { json }
    },
  },
  {
    method: 'POST',
    path: '/images/prune',
    operation: 'ImagePrune',
    handle: async call => {
      const { engine, query } = call
      const filters = Filters.parse(query.get('filters'), [...imageFilters])
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
    lacks: 'the choice of platforms',
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
    handle: call => save(call, [call.params['name'] ?? '']),
  },
]
