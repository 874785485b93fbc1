import { nowText } from '../../core/clock.ts'
import { BerthError, badRequest, notFound } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { VolumeCreateRequest } from '../../wire/volume.ts'
import { checkOptions } from './driverOptions.ts'
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

/** Errors: `not-found` in Docker's words for every driver but `local`. */
export const checkDriver = ({ name, driver }: VolumeWish): void => {
  if (driver !== '' && driver !== 'local')
    throw notFound(
      `create ${name}: error looking up volume plugin ${driver}: plugin ${JSON.stringify(driver)} not found`,
    )
}

/** The record of a volume that is not there yet. Errors: `bad-request` and `not-found` in Docker's words. */
export const decideVolume = (wish: VolumeWish): VolumeRecord => {
  checkDriver(wish)
  const { name, options, labels } = wish
  try {
    checkName(name)
    checkOptions(options)
  } catch (error) {
    if (error instanceof BerthError) throw badRequest(`create ${name}: ${error.message}`, error)
    throw error
  }
  return { name, created: nowText(), labels, options }
}

/** A wish of a request that may have no name. */
export const named = (wish: VolumeWish): VolumeWish =>
  wish.name === '' ? { ...wish, name: newId(), labels: { ...wish.labels, [anonymousLabel]: '' } } : wish

export const wishOf = (request: VolumeCreateRequest): VolumeWish =>
  named({
    name: request.Name ?? '',
    driver: request.Driver ?? '',
    options: request.DriverOpts ?? {},
    labels: request.Labels ?? {},
  })
