import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { containerChanges } from '../engine/containers/changes.ts'
import { commitContainer } from '../engine/containers/commit.ts'
import { exportContainer } from '../engine/containers/export.ts'
import { containerConfig } from '../wire/container.ts'
import { nullable } from '../wire/decode.ts'
import { readOptionalJson } from './body.ts'
import { repositoryTag } from './repositoryTag.ts'
import type { Call, Route } from './route.ts'

/** What a container wrote, taken out of it: export, changes, commit. */

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

export const archiveRoutes: Route[] = [
  {
    method: 'GET',
    path: '/containers/{id}/export',
    operation: 'ContainerExport',
    handle: async call => {
      const { engine, res, signal } = call
      await exportContainer(engine, container(call), {
        signal,
        send: async archive => {
          res.writeHead(200, { 'Content-Type': 'application/octet-stream' })
          await pipeline(Readable.from(archive, { objectMode: false }), res)
        },
      })
      return undefined
    },
  },
  {
    method: 'GET',
    path: '/containers/{id}/changes',
    operation: 'ContainerChanges',
    handle: async call => {
      const changes = await containerChanges(call.engine, container(call))
      return { json: changes.length ? changes : null }
    },
  },
  {
    method: 'POST',
    path: '/commit',
    operation: 'ImageCommit',
    handle: async ({ engine, req, query }) => {
      const config = await readOptionalJson(req, nullable(containerConfig))
      const target = engine.containers.get(query.get('container') ?? '')
      const id = await commitContainer(engine, target, {
        name: repositoryTag(query),
        author: query.get('author') ?? '',
        comment: query.get('comment') ?? '',
        pause: query.flag('pause', true),
        config: config && Object.keys(config).length ? config : undefined,
        changes: query.all('changes'),
      })
      return { status: 201, json: { Id: id } }
    },
  },
]
