import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { Sessions } from '../../build/session/sessions.ts'
import type { Engine } from '../../engine/engine.ts'
import type { Requester } from '../../engine/operations.ts'
import type { AccessPolicy } from '../../engine/settings.ts'
import { Control } from '../../wire/buildkit/control_pb.ts'
import { accessWatcher } from '../access.ts'
import { createGrpcDoor } from '../buildkit/grpcDoor.ts'
import { buildkitServices } from '../buildkit/services.ts'
import type { Builder } from '../buildkit/types.ts'
import { cameBy } from '../peer.ts'
import { allRoutes } from '../routes.ts'
import { createApiServer } from '../server.ts'
import type { RequestOutcome } from '../watch.ts'

/** The API on a unix socket, with the builder's services and little of an engine, for tests of how clients come in. */

export interface Noted extends RequestOutcome {
  path: string
  operation: string
}

export interface TestApi extends AsyncDisposable {
  socket: string
  http: Server
  sessions: Sessions
  /** What watchers were told, in order. */
  noted: Noted[]
  /** Who began builds. */
  requesters: (Requester | undefined)[]
  /** What plugins were asked, in order. */
  asked: { method: string; question: Record<string, unknown> }[]
}

export interface TestApiOptions {
  policies?: AccessPolicy[]
  /** Answers a plugin. */
  plugin?: (method: string, question: Record<string, unknown>) => object
}

const builderOf = (sessions: Sessions, requesters: TestApi['requesters']): Builder =>
  ({
    sessions,
    version: { package: 'berth', version: 'v0.1.0', revision: 'test' },
    workers: () => [],
    begin: (_request, _tell, requester) => {
      requesters.push(requester)
      throw new Error('no builds here')
    },
    sourcesOf: () => [],
  }) as Partial<Builder> as Builder

export const startApi = async ({ policies = [], plugin }: TestApiOptions = {}): Promise<TestApi> => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-api-'))
  const socket = path.join(base, 'api.sock')
  const sessions = new Sessions()
  const [noted, requesters, asked]: [Noted[], TestApi['requesters'], TestApi['asked']] = [[], [], []]
  const engine = {
    settings: {
      ...{ buildkit: true, experimental: false, accessPolicies: policies },
      authorizationPlugins: plugin ? ['judge'] : [],
    },
    log: { debug: () => {}, warn: () => {}, error: () => {} },
    plugins: {
      get: async () => ({
        call: async (method: string, question: Record<string, unknown>) => {
          asked.push({ method, question })
          return plugin?.(method, question)
        },
      }),
    },
  } as unknown as Engine
  const door = createGrpcDoor(buildkitServices(builderOf(sessions, requesters)))
  const http = createApiServer(engine, allRoutes({ id: 'test', door }), {
    door,
    watchers: [
      accessWatcher(engine),
      {
        ended: ({ req, route }, outcome) =>
          noted.push({ path: req.url ?? '', operation: route.operation, ...outcome }),
      },
    ],
  })
  const server = createServer({ allowHalfOpen: true }, connection => {
    cameBy(connection, socket)
    http.emit('connection', connection)
  })
  server.listen(socket)
  await once(server, 'listening')
  return {
    ...{ socket, http, sessions, noted, requesters, asked },
    [Symbol.asyncDispose]: async () => {
      await sessions[Symbol.asyncDispose]()
      door[Symbol.dispose]()
      http.closeAllConnections()
      server.close()
      rmSync(base, { recursive: true })
    },
  }
}

/** A client of `Control` over connections that `nodeOptions` says how to make. */
export const controlClient = (
  nodeOptions: Parameters<typeof createGrpcTransport>[0]['nodeOptions'],
  baseUrl = 'http://localhost',
) => createClient(Control, createGrpcTransport({ baseUrl, ...(nodeOptions ? { nodeOptions } : {}) }))
