import { nowText } from '../../core/clock.ts'
import { BerthError, badRequest } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { VolumeCreateRequest } from '../../wire/volume.ts'
import type { Engine } from '../engine.ts'
import { checkOptions, volumeLimit } from './driverOptions.ts'
import { anonymousLabel, type VolumeRecord, type VolumeWish } from './types.ts'

/** What a new volume is; nothing is touched here. */

const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/
/** A name of the file system, with the longest prefix that it passes through. */
const longest = 255 - '.removed-00000000-'.length

const checkName = (name: string): void => {
  if (name.length === 1)
    throw badRequest('volume name is too short, names should be at least two alphanumeric characters')
  if (!nameForm.test(name))
    throw badRequest(
      `${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    )
  if (name.length > longest)
    throw badRequest(`volume name is too long: it has ${name.length} characters, ${longest} are allowed`)
}

/** The record of a volume of the driver `local` that is not there yet. Errors: `bad-request` in Docker's words. */
export const decideVolume = (engine: Pick<Engine, 'uppers'>, wish: VolumeWish): VolumeRecord => {
  const { name, options, labels } = wish
  try {
    checkName(name)
    checkOptions(options, volumeLimit(options) > 0 && engine.uppers.canLimit)
  } catch (error) {
    if (error instanceof BerthError) throw badRequest(`create ${name}: ${error.message}`, error)
    throw error
  }
  return { name, created: nowText(), labels, options }
}

/** A wish of a request that may have no name. */
export const named = (wish: VolumeWish): VolumeWish =>
  wish.name === ''
    ? {
        ...{ ...wish, name: newId(), driver: wish.driver || 'local' },
        labels: { ...wish.labels, [anonymousLabel]: '' },
      }
    : wish

export const wishOf = (request: VolumeCreateRequest): VolumeWish =>
  named({
    name: request.Name ?? '',
    driver: request.Driver ?? '',
    options: request.DriverOpts ?? {},
    labels: request.Labels ?? {},
  })
