import type { Builder } from '../build/builder.ts'
import { engineBuilder } from './buildkit/engineBuilder.ts'
import { buildkitServices } from './buildkit/services.ts'
import { createGrpcDoor, sessionFields } from './buildkit/upgrade.ts'
import type { Route } from './route.ts'
import { serverVersion } from './server.ts'

/** BuildKit's clients by way of the Engine API: `/grpc`, on which they call us, `/session`, on which we call them. */
export const buildRoutes = (builder: Builder | undefined): Route[] => {
  const door = builder && createGrpcDoor(buildkitServices(engineBuilder(builder, serverVersion)))
  return [
    {
      method: 'POST',
      path: '/session',
      operation: 'Session',
      handle: async ({ req, takeH2c }) => {
        const fields = sessionFields(req)
        builder?.sessions.open({ socket: takeH2c(), ...fields })
        return undefined
      },
    },
    {
      method: 'POST',
      path: '/grpc',
      operation: 'Grpc',
      undescribed: true,
      handle: async ({ takeH2c }) => {
        door?.take(takeH2c())
        return undefined
      },
    },
  ]
}
