import { asBerthError, BerthError, badRequest, notImplemented } from '../core/errors.ts'
import { createContainer } from '../engine/containers/create.ts'
import { inspectContainer } from '../engine/containers/inspect.ts'
import { listContainers } from '../engine/containers/list.ts'
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
import { readJson } from './body.ts'
import { adaptCreate } from './createVersions.ts'
import type { Call, Route } from './route.ts'
import { standardHeaders } from './server.ts'

/** `/containers`: life and listing. */

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

const stopOptions = (call: Call): { signal?: string; timeout?: number } => {
  const signal = call.version.atLeast('1.42') ? call.query.get('signal') : undefined
  const timeout = call.query.int('t')
  return { ...(signal ? { signal } : {}), ...(timeout === undefined ? {} : { timeout }) }
}

/** The same error with what was under way before its text, as Docker tells it. */
const prefixed = (what: string, thrown: unknown): BerthError => {
  const { code, status, message } = asBerthError(thrown)
  return new BerthError(code, status, `${what}: ${message}`, { cause: thrown })
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
    lacks: 'named volumes, IPv6 and several networks',
    handle: async ({ engine, req, query, version }) => {
      const request = await readJson(req, createRequest)
      if (Object.keys(request).every(key => key === 'HostConfig' || key === 'NetworkingConfig'))
        throw badRequest('config cannot be empty in order to create a container')
      const adapted = adaptCreate(request, version)
      const { container: made, warnings } = await createContainer(engine, request, {
        name: query.get('name') ?? '',
        platform: version.atLeast('1.41') ? (query.get('platform') ?? '') : '',
        recursiveReadOnly: version.atLeast('1.44'),
      })
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
      if (Number(call.req.headers['content-length'] ?? 0) > 7)
        throw badRequest(
          'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
        )
      if (call.query.get('checkpoint')) throw notImplemented('starting from a checkpoint')
      const started = await startContainer(call.engine, target)
      return { status: started ? 204 : 304 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/stop',
    operation: 'ContainerStop',
    handle: async call => ({
      status: (await stopContainer(call.engine, container(call), stopOptions(call))) ? 204 : 304,
    }),
  },
  {
    method: 'POST',
    path: '/containers/{id}/restart',
    operation: 'ContainerRestart',
    handle: async call => {
      await restartContainer(call.engine, container(call), stopOptions(call))
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
        await killContainer(call.engine, container(call), call.query.get('signal') ?? '')
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
      await pauseContainer(call.engine, container(call))
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/unpause',
    operation: 'ContainerUnpause',
    handle: async call => {
      await unpauseContainer(call.engine, container(call))
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
        call.takeOver('wait', { 'Content-Type': 'application/json', ...standardHeaders }),
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
      if (query.flag('link')) throw notImplemented('the removal of a link')
      await removeContainer(call.engine, container(call), {
        force: query.flag('force'),
        volumes: query.flag('v'),
      })
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/containers/prune',
    operation: 'ContainerPrune',
    handle: async ({ engine, query }) => ({ json: await pruneContainers(engine, query.get('filters')) }),
  },
]
