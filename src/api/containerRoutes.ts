import { badRequest, prefixed } from '../core/errors.ts'
import { createContainer } from '../engine/containers/create.ts'
import { inspectContainer } from '../engine/containers/inspect.ts'
import { listContainers } from '../engine/containers/list.ts'
import { removeLink } from '../engine/containers/openLinks.ts'
import { pruneContainers } from '../engine/containers/prune.ts'
import { removeContainer } from '../engine/containers/remove.ts'
import { renameContainer } from '../engine/containers/rename.ts'
import { startContainer } from '../engine/containers/startContainer.ts'
import {
  killContainer,
  pauseContainer,
  restartContainer,
  stopContainer,
  unpauseContainer,
} from '../engine/containers/stop.ts'
import { updateContainer } from '../engine/containers/update.ts'
import { waitContainer } from '../engine/containers/wait.ts'
import { parseWaitCondition } from '../engine/containers/waiters.ts'
import { createRequest, updateRequest } from '../wire/container.ts'
import { readJson, readRequiredJson } from './body.ts'
import { checkpointAsked } from './checkpointRoutes.ts'
import { adaptCreate, adaptUpdate } from './createVersions.ts'
import type { Call, Route } from './route.ts'
import { standardHeaders } from './server.ts'
import { onContainer, requesterOf, tracked } from './track.ts'

/** `/containers`: life and listing. */

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

const stopOptions = (call: Call): { signal?: string; timeout?: number } => {
  const signal = call.version.atLeast('1.42') ? call.query.get('signal') : undefined
  const timeout = call.query.int('t')
  return { ...(signal ? { signal } : {}), ...(timeout === undefined ? {} : { timeout }) }
}

export const containerRoutes: Route[] = [
  {
    method: 'GET',
    path: '/containers/json',
    operation: 'ContainerList',
    handle: async ({ engine, query, version }) => ({
      json: await listContainers(engine, {
        all: query.flag('all'),
        limit: query.int('limit') ?? -1,
        size: query.flag('size'),
        filters: query.get('filters'),
        version,
      }),
    }),
  },
  {
    method: 'POST',
    path: '/containers/create',
    operation: 'ContainerCreate',
    handle: async call => {
      const { engine, req, query, version } = call
      const request = await readRequiredJson(req, createRequest)
      if (Object.keys(request).every(key => key === 'HostConfig' || key === 'NetworkingConfig'))
        throw badRequest('config cannot be empty in order to create a container')
      const adapted = adaptCreate(request, version)
      const name = query.get('name') ?? ''
      const options = {
        platform: version.atLeast('1.41') ? (query.get('platform') ?? '') : '',
        recursiveReadOnly: version.atLeast('1.44'),
      }
      const subject = { type: 'container', id: '', name }
      const { container: made, warnings } = await tracked(call, { verb: 'create', subject }, operation =>
        createContainer(engine, request, { ...options, name, operation }),
      )
      return { status: 201, json: { Id: made.id, Warnings: [...warnings, ...adapted] } }
    },
  },
  {
    method: 'GET',
    path: '/containers/{id}/json',
    operation: 'ContainerInspect',
    handle: async call => ({
      json: await inspectContainer(call.engine, container(call), {
        size: call.query.flag('size'),
        version: call.version,
      }),
    }),
  },
  {
    method: 'POST',
    path: '/containers/{id}/start',
    operation: 'ContainerStart',
    handle: async call => {
      const target = container(call)
      // Docker, too, takes a body as short as `{}` or `null`, which old clients send.
      const { 'content-length': length = '0', 'transfer-encoding': chunked } = call.req.headers
      if (Number(length) > 7 || chunked !== undefined)
        throw badRequest(
          'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
        )
      const checkpoint = checkpointAsked(call)
      const started = await tracked(call, onContainer('start', target), operation =>
        startContainer(call.engine, target, operation, checkpoint),
      )
      return { status: started ? 204 : 304 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/stop',
    operation: 'ContainerStop',
    handle: async call => {
      const target = container(call)
      const stopped = await tracked(call, onContainer('stop', target), operation =>
        stopContainer(call.engine, target, { ...stopOptions(call), operation }),
      )
      return { status: stopped ? 204 : 304 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/restart',
    operation: 'ContainerRestart',
    handle: async call => {
      const target = container(call)
      await tracked(call, onContainer('restart', target), operation =>
        restartContainer(call.engine, target, { ...stopOptions(call), operation }),
      )
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/kill',
    operation: 'ContainerKill',
    handle: async call => {
      const name = call.params['id'] ?? ''
      try {
        const signal = call.query.get('signal') ?? ''
        await killContainer(call.engine, container(call), { signal, requester: requesterOf(call) })
      } catch (error) {
        throw prefixed(`cannot kill container: ${name}`, error)
      }
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/pause',
    operation: 'ContainerPause',
    handle: async call => {
      const target = container(call)
      await tracked(call, onContainer('pause', target), ({ signal }) =>
        pauseContainer(call.engine, target, signal),
      )
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/unpause',
    operation: 'ContainerUnpause',
    handle: async call => {
      const target = container(call)
      await tracked(call, onContainer('unpause', target), ({ signal }) =>
        unpauseContainer(call.engine, target, signal),
      )
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/rename',
    operation: 'ContainerRename',
    handle: async call => {
      await renameContainer(call.engine, container(call), call.query.get('name') ?? '')
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/update',
    operation: 'ContainerUpdate',
    handle: async call => {
      const request = await readJson(call.req, updateRequest)
      adaptUpdate(request, call.version)
      return { json: { Warnings: await updateContainer(call.engine, container(call), request) } }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/wait',
    operation: 'ContainerWait',
    handle: async call => {
      const condition = parseWaitCondition(call.query.get('condition'))
      const code = await waitContainer(call.engine, container(call), condition, () =>
        call.takeOver('wait', {
          'Content-Type': 'application/json',
          ...standardHeaders(call.engine.settings.experimental),
        }),
      )
      return code === undefined ? undefined : { json: { StatusCode: code } }
    },
  },
  {
    method: 'DELETE',
    path: '/containers/{id}',
    operation: 'ContainerDelete',
    handle: async call => {
      const { query } = call
      if (query.flag('link')) {
        await removeLink(call.engine, call.params['id'] ?? '')
        return { status: 204 }
      }
      const target = container(call)
      const options = { force: query.flag('force'), volumes: query.flag('v') }
      await tracked(call, onContainer('rm', target), operation =>
        removeContainer(call.engine, target, { ...options, operation }),
      )
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/prune',
    operation: 'ContainerPrune',
    handle: async call => {
      const subject = { type: 'containers', id: '', name: '' }
      const json = await tracked(call, { verb: 'prune', subject }, operation =>
        pruneContainers(call.engine, call.query.get('filters'), operation),
      )
      return { json }
    },
  },
]
