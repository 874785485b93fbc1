import { unavailable } from '../core/errors.ts'
import { createVolume } from '../engine/volumes/createVolume.ts'
import { wishOf } from '../engine/volumes/decideVolume.ts'
import { volumeJson } from '../engine/volumes/document.ts'
import { foreignJson, getForeign, listForeign } from '../engine/volumes/foreign.ts'
import { pruneVolumes, removeVolume } from '../engine/volumes/removeVolume.ts'
import { isForeign, type VolumeRecord } from '../engine/volumes/types.ts'
import { userCounts } from '../engine/volumes/users.ts'
import { Filters } from '../wire/filters.ts'
import { volumeCreateRequest } from '../wire/volume.ts'
import { readJson } from './body.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'
import { noSwarm } from './unbuiltRoutes.ts'

/** `/volumes` */

/** As Docker's: the name, or a regular expression that is found in it. */
const isNamed = (name: string, wanted: string): boolean => {
  if (name === wanted) return true
  try {
    return new RegExp(wanted).test(name)
  } catch {
    return false
  }
}

const listed = async ({ engine, query }: Call): Promise<object> => {
  const filters = Filters.parse(query.get('filters'), ['dangling', 'driver', 'label', 'name'])
  const dangling = filters.flag('dangling')
  const users = dangling === undefined ? undefined : userCounts(engine)
  const isWanted = ({ name, labels }: VolumeRecord): boolean =>
    filters.some('name', wanted => isNamed(name, wanted)) &&
    filters.labels('label', labels) &&
    (!users || dangling === !users.has(name))
  const isDriver = (driver: string): boolean => filters.exact('driver', driver)
  const foreign = await listForeign(engine, isDriver)
  const own = engine.volumes.all().filter(record => !isForeign(record) && isDriver('local'))
  return {
    Volumes: [
      ...own.filter(isWanted).map(record => volumeJson(engine, record)),
      ...(await Promise.all(
        foreign.volumes
          .filter(({ record }) => isWanted(record))
          .map(volume => foreignJson(engine, volume, { status: false })),
      )),
    ],
    Warnings: foreign.warnings.length ? foreign.warnings : null,
  }
}

const inspected = async ({ engine }: Call, name: string): Promise<object> => {
  const record = engine.volumes.find(name)
  if (record && !isForeign(record)) return volumeJson(engine, record)
  return await foreignJson(engine, await getForeign(engine, name), { status: true })
}

const nameOf = ({ params }: Call): string => params['name'] ?? ''

export const volumeRoutes: Route[] = [
  {
    method: 'GET',
    path: '/volumes',
    operation: 'VolumeList',
    handle: async call => ({ json: await listed(call) }),
  },
  {
    method: 'POST',
    path: '/volumes/create',
    operation: 'VolumeCreate',
    handle: async ({ engine, req, version }) => {
      const request = await readJson(req, volumeCreateRequest)
      if (request.ClusterVolumeSpec && version.atLeast('1.42')) throw unavailable(noSwarm)
      return { status: 201, json: volumeJson(engine, await createVolume(engine, wishOf(request))) }
    },
  },
  {
    method: 'GET',
    path: '/volumes/{name}',
    operation: 'VolumeInspect',
    handle: async call => ({ json: await inspected(call, nameOf(call)) }),
  },
  {
    method: 'DELETE',
    path: '/volumes/{name}',
    operation: 'VolumeDelete',
    handle: async call => {
      await removeVolume(call.engine, nameOf(call), { force: call.query.flag('force') })
      return { status: 204 }
    },
  },
  {
    method: 'POST',
    path: '/volumes/prune',
    operation: 'VolumePrune',
    handle: async call => {
      const { engine, query, version } = call
      const subject = { type: 'volumes', id: '', name: '' }
      const json = await tracked(call, { verb: 'prune', subject }, operation =>
        pruneVolumes(engine, { filters: query.get('filters'), all: !version.atLeast('1.42'), operation }),
      )
      return { json }
    },
  },
]
