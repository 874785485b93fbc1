import type { Socket } from 'node:net'
import { badRequest } from '../../core/errors.ts'
import type { Call, Route } from '../route.ts'
import { buildkitServices } from './services.ts'
import type { Builder } from './types.ts'
import { createGrpcDoor, type GrpcDoor, isH2c, sessionFields } from './upgrade.ts'

/** The two paths of the Engine API on which BuildKit's clients leave HTTP/1.1. */

/** A call whose connection can become HTTP/2 (`upgradeToH2c`). */
export interface UpgradeCall extends Call {
  takeH2c(): Socket
}

const openSession = async (builder: Builder, call: UpgradeCall): Promise<undefined> => {
  const fields = sessionFields(call.req)
  if (builder.sessions.find(fields.id)) throw badRequest(`session ${fields.id} already exists`)
  const session = builder.sessions.open({ ...fields, socket: call.takeH2c() })
  await session.closed
}

const openGrpc = async (door: GrpcDoor, call: UpgradeCall): Promise<undefined> => {
  if (!isH2c(call.req)) throw badRequest('protocol not supported: the upgrade must be to h2c')
  door.take(call.takeH2c())
}

/** Disposal ends the connections of both. */
export const buildkitRoutes = (builder: Builder): { routes: Route[] } & AsyncDisposable => {
  const door = createGrpcDoor(buildkitServices(builder))
  return {
    routes: [
      {
        method: 'POST',
        path: '/session',
        operation: 'Session',
        handle: (call: UpgradeCall) => openSession(builder, call),
      },
      {
        method: 'POST',
        path: '/grpc',
        operation: 'Grpc',
        undescribed: true,
        handle: (call: UpgradeCall) => openGrpc(door, call),
      },
    ],
    [Symbol.asyncDispose]: async () => {
      door[Symbol.dispose]()
      await builder.sessions[Symbol.asyncDispose]()
    },
  }
}
