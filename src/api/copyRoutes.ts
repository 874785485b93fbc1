import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { badRequest } from '../core/errors.ts'
import type { Container } from '../engine/containers/container.ts'
import { type CopyPlace, copyIn, copyOut, statPath } from '../engine/containers/copy.ts'
import type { PathStat } from '../engine/containers/pathStat.ts'
import { encoderFor } from './contentEncoding.ts'
import type { Call, Route } from './route.ts'
import { onContainer, type Tracked, tracked } from './track.ts'

/** `/containers/{id}/archive`: `docker cp`. */

const place = (call: Call): CopyPlace => {
  const path = call.query.get('path') ?? ''
  if (path === '') throw badRequest('bad parameter: path cannot be empty')
  return { reference: call.params['id'] ?? '', path }
}

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

const statHeader = (stat: PathStat): Record<string, string> => ({
  'X-Docker-Container-Path-Stat': Buffer.from(JSON.stringify(stat)).toString('base64'),
})

const sendArchive = async (
  { req, res }: Call,
  signal: AbortSignal,
  { stat, archive }: { stat: PathStat; archive: AsyncIterable<Buffer> },
): Promise<void> => {
  const encoder = encoderFor(req)
  res.writeHead(200, {
    ...statHeader(stat),
    'Content-Type': 'application/x-tar',
    ...(encoder ? { 'Content-Encoding': encoder.name } : {}),
  })
  const source = Readable.from(archive, { objectMode: false })
  await (encoder ? pipeline(source, encoder.transform, res, { signal }) : pipeline(source, res, { signal }))
}

const copying = (target: Container): Tracked => ({ ...onContainer('cp', target), endsWithClient: true })

export const copyRoutes: Route[] = [
  {
    method: 'HEAD',
    path: '/containers/{id}/archive',
    operation: 'ContainerArchiveInfo',
    handle: async call => {
      const target = container(call)
      const stat = await tracked(call, copying(target), operation =>
        statPath(call.engine, target, { place: place(call), operation }),
      )
      call.res.writeHead(200, statHeader(stat))
      call.res.end()
      return undefined
    },
  },
  {
    method: 'GET',
    path: '/containers/{id}/archive',
    operation: 'ContainerArchive',
    handle: async call => {
      const target = container(call)
      await tracked(call, copying(target), operation =>
        copyOut(call.engine, target, {
          place: place(call),
          operation,
          send: (stat, archive) => sendArchive(call, operation.signal, { stat, archive }),
        }),
      )
      return undefined
    },
  },
  {
    method: 'PUT',
    path: '/containers/{id}/archive',
    operation: 'PutContainerArchive',
    handle: async call => {
      const { query } = call
      const target = container(call)
      await tracked(call, copying(target), operation =>
        copyIn(call.engine, target, place(call), {
          source: call.req,
          noOverwriteDirNonDir: query.flag('noOverwriteDirNonDir'),
          copyUIDGID: query.flag('copyUIDGID'),
          operation,
        }),
      )
      return { status: 200 }
    },
  },
]
