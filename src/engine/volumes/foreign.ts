import { zeroTime } from '../../core/clock.ts'
import { BerthError, conflict, messageOf, notFound, prefixed } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import { volumeJson } from './document.ts'
import { getIn, listIn, type PluginVolume, scopeIn } from './pluginDriver.ts'
import { driverOf, isForeign, type VolumeRecord, type VolumeWish } from './types.ts'
import { usersOf } from './users.ts'
import { volumeDrop } from './volumes.ts'

/** Foreign volumes looked up: their plugins have the word, records only add what was asked for here. */

export interface ForeignVolume {
  record: VolumeRecord & { driver: string }
  seen?: PluginVolume
}

/** Of one that was made elsewhere. */
const strange = (driver: string, { Name, CreatedAt }: PluginVolume): ForeignVolume['record'] => ({
  ...{ name: Name, driver, created: CreatedAt ?? zeroTime },
  labels: {},
  options: {},
})

/** What its plugin says of it; undefined where it says that there is none. Errors: those of plugins, when it cannot be asked. */
export const lookUp = async (
  engine: Engine,
  { name, driver }: VolumeRecord & { driver: string },
): Promise<PluginVolume | undefined> => {
  try {
    return await getIn(engine, driver, name)
  } catch (error) {
    const what = `error while checking if volume ${JSON.stringify(name)} exists in driver ${JSON.stringify(driver)}`
    throw new BerthError('plugin-unreachable', 500, `${what}: ${messageOf(error)}`, { cause: error })
  }
}

/** The first plugin that has a volume of this name; those that cannot be asked have none. */
export const findElsewhere = async (engine: Engine, name: string): Promise<ForeignVolume | undefined> => {
  for (const plugin of await engine.plugins.all('VolumeDriver', () => {})) {
    const seen = await getIn(engine, plugin.name, name).catch(() => undefined)
    if (seen) return { record: strange(plugin.name, { ...seen, Name: name }), seen }
  }
  return undefined
}

const find = async (engine: Engine, name: string): Promise<ForeignVolume | undefined> => {
  const record = engine.volumes.find(name)
  if (!record || !isForeign(record)) return await findElsewhere(engine, name)
  const seen = await lookUp(engine, record)
  return seen && { record, seen }
}

/** Errors: 404 and 500 in Docker's words. */
export const getForeign = async (engine: Engine, name: string): Promise<ForeignVolume> => {
  const found = await find(engine, name).catch(error => {
    throw prefixed(`get ${name}`, error)
  })
  if (!found) throw notFound(`get ${name}: no such volume`)
  return found
}

export const forgetForeign = async (engine: Engine, { name }: VolumeRecord): Promise<void> => {
  await engine.database.write([volumeDrop(name)], { durable: true })
  engine.volumes.forget(name)
}

const unique = 'volume name must be unique'

/**
 * A volume of the wanted name, as far as it is the wanted one; undefined where its
 * plugin has lost it. The caller holds the name. Errors: `conflict` in Docker's words.
 */
export const checkExisting = async (
  engine: Engine,
  record: VolumeRecord,
  { name, driver }: VolumeWish,
): Promise<VolumeRecord | undefined> => {
  const own = driverOf(record)
  const isOther = driver !== '' && driver !== own
  if (isOther && driver !== 'local')
    await engine.plugins.get(driver, 'VolumeDriver').catch(error => {
      throw prefixed(`create ${name}: error looking up volume plugin ${driver}`, error)
    })
  const isThere =
    !isForeign(record) ||
    (await lookUp(engine, record).catch(error => {
      throw conflict(
        `create ${name}: found reference to volume '${name}' in driver '${own}', but got an error while checking the driver: ${messageOf(error)}: ${unique}`,
      )
    }))
  if (isThere && isOther)
    throw conflict(`create ${name}: driver '${own}' already has volume '${name}': ${unique}`)
  if (isThere) return record
  if (usersOf(engine, name).length > 0)
    throw conflict(
      `create ${name}: found references to volume '${name}' in driver '${own}' but the volume was not found in the driver -- you may need to remove containers referencing this volume or force remove the volume to re-create it: ${unique}`,
    )
  await forgetForeign(engine, record)
  return undefined
}

interface Listing {
  volumes: ForeignVolume[]
  warnings: string[]
}

/** One plugin's volumes; of one that cannot be asked those that are known here, and why. */
const listOne = async (engine: Engine, driver: string, error?: unknown): Promise<Listing> => {
  const known = engine.volumes
    .all()
    .filter(isForeign)
    .filter(record => record.driver === driver)
  try {
    if (error) throw error
    const volumes = (await listIn(engine, driver)).flatMap(seen => {
      const record = engine.volumes.find(seen.Name)
      if (!record) return [{ record: strange(driver, seen), seen }]
      // Of two of a name the one that is used here counts, as with Docker.
      return isForeign(record) && record.driver === driver ? [{ record, seen }] : []
    })
    return { volumes, warnings: [] }
  } catch (failure) {
    return { volumes: known.map(record => ({ record })), warnings: [`list ${driver}: ${messageOf(failure)}`] }
  }
}

/** All foreign volumes of the drivers that `isWanted`. */
export const listForeign = async (
  engine: Engine,
  isWanted: (driver: string) => boolean,
): Promise<Listing> => {
  const failed = new Map<string, unknown>()
  const plugins = await engine.plugins.all('VolumeDriver', (name, error) => failed.set(name, error))
  const recorded = engine.volumes.all().flatMap(({ driver }) => (driver === undefined ? [] : [driver]))
  const drivers = [...new Set([...plugins.map(({ name }) => name), ...recorded])].filter(isWanted)
  const lists = await Promise.all(drivers.map(driver => listOne(engine, driver, failed.get(driver))))
  return {
    volumes: lists.flatMap(({ volumes }) => volumes),
    warnings: lists.flatMap(({ warnings }) => warnings),
  }
}

/** Engine API `Volume`. A list has no `Status`, as Docker's. */
export const foreignJson = async (
  engine: Engine,
  { record, seen }: ForeignVolume,
  { status }: { status: boolean },
): Promise<object> => ({
  ...volumeJson(engine, record),
  ...(seen?.CreatedAt ? { CreatedAt: seen.CreatedAt } : {}),
  Mountpoint: seen?.Mountpoint ?? '',
  Scope: seen ? await scopeIn(engine, record.driver) : 'local',
  ...(status && seen?.Status && Object.keys(seen.Status).length ? { Status: seen.Status } : {}),
})
