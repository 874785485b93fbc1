import type { Builder } from '../build/builder.ts'
import { pruneFilterKeys, readPruneFilters } from '../build/solver/filter.ts'
import { type PruneRule, sumOf } from '../build/solver/prune.ts'
import { badRequest } from '../core/errors.ts'
import { Filters } from '../wire/filters.ts'
import { engineBuilder } from './buildkit/engineBuilder.ts'
import { createGrpcDoor, type GrpcDoor } from './buildkit/grpcDoor.ts'
import { buildkitServices } from './buildkit/services.ts'
import { sessionFields } from './buildkit/upgrade.ts'
import { classicBuildRoute } from './classicBuildRoute.ts'
import type { Call, Route } from './route.ts'
import { serverVersion } from './server.ts'
import { requesterOf } from './track.ts'

/** `keep-storage` is the older name of `reserved-space`. */
const pruneRule = ({ query, version }: Call): PruneRule => {
  const { filter, keepDuration } = readPruneFilters(
    Filters.parse(query.get('filters'), pruneFilterKeys),
    Date.now(),
  )
  const newer = version.atLeast('1.48')
  const reservedSpace = newer
    ? (query.int('reserved-space') ?? query.int('keep-storage'))
    : query.int('keep-storage')
  return {
    all: query.flag('all'),
    filter,
    keepDuration,
    reservedSpace: reservedSpace ?? 0,
    maxUsedSpace: (newer && query.int('max-used-space')) || 0,
    minFreeSpace: (newer && query.int('min-free-space')) || 0,
  }
}

export interface BuildDoors {
  builder?: Builder | undefined
  door?: GrpcDoor | undefined
}

/** Serves BuildKit's clients. */
export const builderDoor = (builder: Builder): GrpcDoor =>
  createGrpcDoor(buildkitServices(engineBuilder(builder, serverVersion)))

/** BuildKit's clients by way of the Engine API: `/grpc`, on which they call us, `/session`, on which we call them. */
export const buildRoutes = ({ builder, door }: BuildDoors): Route[] => [
  classicBuildRoute(builder),
  {
    method: 'POST',
    path: '/session',
    operation: 'Session',
    handle: async ({ req, takeH2c }) => {
      const fields = sessionFields(req)
      if (builder?.sessions.find(fields.id)) throw badRequest(`session ${fields.id} already exists`)
      builder?.sessions.open({ socket: takeH2c(), ...fields })
      return undefined
    },
  },
  {
    method: 'POST',
    path: '/build/prune',
    operation: 'BuildPrune',
    handle: async call => {
      const gone = (await builder?.upkeep.prune(pruneRule(call))) ?? []
      call.engine.events.publish('builder', 'prune', '', { reclaimed: String(sumOf(gone)) })
      return {
        json: {
          CachesDeleted: gone.length > 0 ? gone.map(({ id }) => id) : null,
          SpaceReclaimed: sumOf(gone),
        },
      }
    },
  },
  {
    method: 'POST',
    path: '/grpc',
    operation: 'Grpc',
    undescribed: true,
    handle: async call => {
      const requester = requesterOf(call)
      // The connection was let in as a whole.
      door?.take(call.takeH2c(), () => ({ requester, ended: () => {} }))
      return undefined
    },
  },
]
