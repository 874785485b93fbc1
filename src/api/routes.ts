import { archiveRoutes } from './archiveRoutes.ts'
import { buildHistoryRoutes } from './buildHistoryRoutes.ts'
import { type BuildDoors, buildRoutes } from './buildRoutes.ts'
import { checkpointRoutes } from './checkpointRoutes.ts'
import { cleanUpRoutes } from './cleanUpRoutes.ts'
import { containerRoutes } from './containerRoutes.ts'
import { copyRoutes } from './copyRoutes.ts'
import { eventRoutes } from './eventRoutes.ts'
import { imageCleanUpRoutes } from './imageCleanUpRoutes.ts'
import { imageRoutes } from './imageRoutes.ts'
import { imageSourceRoutes } from './imageSourceRoutes.ts'
import { journalRoutes } from './journalRoutes.ts'
import { networkRoutes } from './networkRoutes.ts'
import { operationRoutes } from './operationRoutes.ts'
import { processRoutes } from './processRoutes.ts'
import { pushRoutes } from './pushRoutes.ts'
import { registryRoutes } from './registryRoutes.ts'
import type { Route } from './route.ts'
import { storeRoutes } from './storeRoutes.ts'
import { streamRoutes } from './streamRoutes.ts'
import { systemRoutes } from './systemRoutes.ts'
import { unbuiltRoutes } from './unbuiltRoutes.ts'
import { volumeRoutes } from './volumeRoutes.ts'
import { webSocketRoutes } from './webSocketRoutes.ts'
import { whyRoutes } from './whyRoutes.ts'

/** What routes say of the daemon, and the builder that they ask, if they are to be served. */
export interface Identity extends BuildDoors {
  id: string
}

/** Every route of the Engine API, built or not; docs/api.md is made from it. */
export const allRoutes = ({ id, ...doors }: Identity): Route[] => [
  ...buildRoutes(doors),
  ...buildHistoryRoutes(doors.builder),
  ...eventRoutes,
  ...systemRoutes({ id }),
  ...checkpointRoutes,
  ...containerRoutes,
  ...streamRoutes,
  ...copyRoutes,
  ...archiveRoutes,
  ...processRoutes,
  ...imageRoutes,
  ...imageSourceRoutes,
  ...pushRoutes,
  ...registryRoutes,
  ...networkRoutes,
  ...volumeRoutes,
  ...webSocketRoutes,
  ...operationRoutes,
  ...whyRoutes,
  ...journalRoutes,
  ...storeRoutes,
  ...cleanUpRoutes,
  ...imageCleanUpRoutes,
  ...unbuiltRoutes,
]
