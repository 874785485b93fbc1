import { badRequest, notImplemented } from '../../core/errors.ts'
import { attributeOptions, checkAttributes } from './delivery/attributes.ts'
import { deliveringDrivers } from './delivery/drivers.ts'
import { tagOf } from './delivery/tag.ts'
import type { LogOptions, LogSource } from './delivery/types.ts'
import { parseSize } from './logConfig.ts'

/** The drivers, and what their options may be. */
const laterDrivers = ['local', 'journald', 'fluentd', 'awslogs', 'splunk', 'etwlogs', 'gcplogs']

/** As `docker info` names them. */
export const logDrivers: readonly string[] = [...deliveringDrivers.keys(), 'json-file', 'none'].sort()

const jsonFileOptions = [...attributeOptions, 'max-size', 'max-file', 'compress']
const commonOptions = [
  ...['mode', 'max-buffer-size', 'cache-disabled', 'cache-max-size', 'cache-max-file', 'cache-compress'],
]
const truths = ['1', 't', 'T', 'TRUE', 'true', 'True']
const booleans = [...truths, '0', 'f', 'F', 'FALSE', 'false', 'False']

/** The log is not for `docker logs`. */
export const isCacheDisabled = (options: LogOptions): boolean =>
  truths.includes(options['cache-disabled'] ?? '')

const checkSizes = (options: LogOptions, prefix = ''): void => {
  const maxSize = options[`${prefix}max-size`]
  if (maxSize !== undefined && maxSize !== '-1' && !((parseSize(maxSize) ?? 0) > 0))
    throw badRequest(`invalid value for '${prefix}max-size': ${maxSize}`)
  const maxFile = options[`${prefix}max-file`]
  if (maxFile !== undefined && !/^[1-9]\d*$/.test(maxFile))
    throw badRequest(`${prefix}max-file cannot be less than 1: ${maxFile}`)
}

const checkJsonFile = (options: LogOptions): void => {
  for (const key of Object.keys(options))
    if (!jsonFileOptions.includes(key)) throw badRequest(`unknown log opt '${key}' for json-file log driver`)
  checkSizes(options)
  if (Number(options['max-file'] ?? 1) > 1 && options['max-size'] === undefined)
    throw badRequest('max-file cannot be set without max-size')
}

/** What all drivers take. */
const checkCommon = (options: LogOptions): void => {
  const { mode = '', 'max-buffer-size': buffer, 'cache-disabled': disabled } = options
  if (!['', 'blocking', 'non-blocking'].includes(mode))
    throw badRequest(`logger: logging mode not supported: ${mode}`)
  if (buffer !== undefined && mode !== 'non-blocking')
    throw badRequest("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
  if (buffer !== undefined && parseSize(buffer) === undefined)
    throw badRequest(`error parsing option max-buffer-size: invalid size: '${buffer}'`)
  if (disabled && !booleans.includes(disabled))
    throw badRequest(`invalid value for option cache-disabled: ${disabled}`)
  checkSizes(options, 'cache-')
}

/** A tag is tried with a container that has nothing. */
const anybody: LogSource = {
  ...{ id: '0'.repeat(64), name: '', command: '', imageId: '', imageName: '', created: '', hostname: '' },
  env: [],
  labels: {},
}

/** Refuses unknown drivers and options, in Docker's words. Errors: `bad-request`, `not-implemented`. */
export const checkLogConfig = (type: string, config: Record<string, string>): void => {
  if (laterDrivers.includes(type)) throw notImplemented(`the log driver ${type}`)
  const driver = deliveringDrivers.get(type)
  if (!driver && !logDrivers.includes(type))
    throw badRequest(`logger: no log driver named '${type}' is registered`)
  if (type === 'none') return
  checkCommon(config)
  const own = Object.fromEntries(Object.entries(config).filter(([key]) => !commonOptions.includes(key)))
  if (driver) driver.check(own)
  else checkJsonFile(own)
  checkAttributes(own)
  tagOf(anybody, own)
}
