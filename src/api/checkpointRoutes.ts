import { BerthError, badRequest, forbidden } from '../core/errors.ts'
import {
  checkCheckpointName,
  createCheckpoint,
  listCheckpoints,
  removeCheckpoint,
} from '../engine/containers/checkpoints.ts'
import { bool, object, string } from '../wire/decode.ts'
import { readJson } from './body.ts'
import type { Call, Route } from './route.ts'
import { onContainer, tracked } from './track.ts'

/** `/containers/{id}/checkpoints`: where experimental features are on, as in Docker. */

const createRequest = object({ CheckpointID: string, CheckpointDir: string, Exit: bool })

const checkExperimental = ({ engine }: Call): void => {
  if (!engine.settings.experimental)
    throw new BerthError(
      'not-experimental',
      501,
      'This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.',
    )
}

const reference = (call: Call): string => call.params['id'] ?? ''

const container = (call: Call) => call.engine.containers.get(reference(call))

/** What `docker start --checkpoint` names; empty where it starts anew. Errors: 400, and 403 for a folder of the caller's, as Docker. */
export const checkpointAsked = ({ engine, query }: Call): string => {
  const name = query.get('checkpoint') ?? ''
  if (name !== '') {
    checkCheckpointName(name)
    if (!engine.settings.experimental) throw badRequest('checkpoint is only supported in experimental mode')
  }
  if (query.get('checkpoint-dir')) throw forbidden('custom checkpointdir is not supported')
  return name
}

export const checkpointRoutes: Route[] = [
  {
    method: 'GET',
    path: '/containers/{id}/checkpoints',
    operation: 'CheckpointList',
    undescribed: true,
    handle: async call => {
      checkExperimental(call)
      const directory = call.query.get('dir') ?? ''
      const names = listCheckpoints(call.engine, container(call), { directory, reference: reference(call) })
      return { json: names.map(Name => ({ Name })) }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/checkpoints',
    operation: 'CheckpointCreate',
    undescribed: true,
    handle: async call => {
      checkExperimental(call)
      const body = await readJson(call.req, createRequest)
      const name = body.CheckpointID ?? ''
      checkCheckpointName(name)
      const target = container(call)
      const request = {
        ...{ name, directory: body.CheckpointDir ?? '', exit: body.Exit ?? false },
        reference: reference(call),
      }
      await tracked(call, onContainer('checkpoint', target), operation =>
        createCheckpoint(call.engine, target, { request, operation }),
      )
      return { status: 201 }
    },
  },
  {
    method: 'DELETE',
    path: '/containers/{id}/checkpoints/{name}',
    operation: 'CheckpointDelete',
    undescribed: true,
    handle: async call => {
      checkExperimental(call)
      const name = call.params['name'] ?? ''
      checkCheckpointName(name)
      const directory = call.query.get('dir') ?? ''
      await removeCheckpoint(call.engine, container(call), { name, directory, reference: reference(call) })
      return { status: 204 }
    },
  },
]
