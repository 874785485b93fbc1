import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { abandonable } from '../core/abort.ts'
import { containerChanges } from '../engine/containers/changes.ts'
import { commitContainer } from '../engine/containers/commit.ts'
import { exportContainer } from '../engine/containers/export.ts'
import { containerConfig } from '../wire/container.ts'
import { nullable } from '../wire/decode.ts'
import { readJson } from './body.ts'
import { repositoryTag } from './repositoryTag.ts'
import type { Call, Route } from './route.ts'
import { onContainer, tracked } from './track.ts'

/** What a container wrote, taken out of it: export, changes, commit. */

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

export const archiveRoutes: Route[] = [
  {
    method: 'GET',
    path: '/containers/{id}/export',
    operation: 'ContainerExport',
    handle: async call => {
      const { engine, res } = call
      const target = container(call)
      const what = { ...onContainer('export', target), endsWithClient: true }
      await tracked(call, what, operation =>
        exportContainer(engine, target, {
          operation,
          send: async archive => {
            res.writeHead(200, { 'Content-Type': 'application/octet-stream' })
            await pipeline(Readable.from(archive, { objectMode: false }), res, { signal: operation.signal })
          },
        }),
      )
      return undefined
    },
  },
  {
    method: 'GET',
    path: '/containers/{id}/changes',
    operation: 'ContainerChanges',
    handle: async call => {
      const target = container(call)
      const changes = await tracked(call, onContainer('diff', target), ({ signal }) =>
        abandonable(signal, containerChanges(call.engine, target)),
      )
      return { json: changes.length ? changes : null }
    },
  },
  {
    method: 'POST',
    path: '/commit',
    operation: 'ImageCommit',
    handle: async call => {
      const { engine, req, query } = call
      const config = await readJson(req, nullable(containerConfig))
      const target = engine.containers.get(query.get('container') ?? '')
      const request = {
        name: repositoryTag(query),
        author: query.get('author') ?? '',
        comment: query.get('comment') ?? '',
        pause: query.flag('pause', true),
        config: config && Object.keys(config).length ? config : undefined,
        changes: query.all('changes'),
      }
      const id = await tracked(call, onContainer('commit', target), operation =>
        commitContainer(engine, target, { ...request, operation }),
      )
      return { status: 201, json: { Id: id } }
    },
  },
]
