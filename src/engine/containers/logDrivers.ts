import { badRequest, messageOf, notImplemented } from '../../core/errors.ts'
import { readDecimalSize, readSize } from '../../wire/sizes.ts'
import { readTruth, truthOf } from '../../wire/truth.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { attributeOptions, checkAttributes } from './delivery/attributes.ts'
import { deliveringDrivers, isPluginDriver } from './delivery/drivers.ts'
import { tagOf } from './delivery/tag.ts'
import type { LogOptions, LogSource } from './delivery/types.ts'
import { cacheOptionsOf } from './logConfig.ts'
import type { ContainerRecord } from './types.ts'

/** The drivers, and what their options may be. */
const cloudDrivers = ['awslogs', 'splunk', 'etwlogs', 'gcplogs']

/** As `docker info` names them. */
export const logDrivers: readonly string[] = [
  ...deliveringDrivers.keys(),
  'json-file',
  'local',
  'none',
].sort()

const fileOptions = [...attributeOptions, 'max-size', 'max-file', 'compress']
const cacheOptions = ['cache-disabled', ...fileOptions.map(key => `cache-${key}`)]
const commonOptions = ['mode', 'max-buffer-size', ...cacheOptions]

/** Those of the daemon's options that containers get whatever their driver. */
export const cacheOptionsIn = (options: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(options).filter(([key]) => cacheOptions.includes(key)))

/** The log is not for `docker logs`. */
export const isCacheDisabled = (options: LogOptions): boolean =>
  truthOf(options['cache-disabled'] ?? '') === true

const integer = /^[+-]?\d+$/

const readInteger = (text: string, words = ''): number => {
  if (!integer.test(text))
    throw badRequest(`${words}strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`)
  return Number(text)
}

const checkJsonFile = (options: LogOptions): void => {
  for (const key of Object.keys(options))
    if (!fileOptions.includes(key)) throw badRequest(`unknown log opt '${key}' for json-file log driver`)
  const { compress, 'max-file': files = '1', 'max-size': size = '-1' } = options
  if (size !== '-1' && readDecimalSize(size) <= 0) throw badRequest('max-size must be a positive number')
  if (readInteger(files) < 1) throw badRequest('max-file cannot be less than 1')
  if (compress !== undefined && readTruth(compress) && (Number(files) === 1 || size === '-1'))
    throw badRequest('compress cannot be true when max-file is less than 2 or max-size is not set')
}

/** Those of a file of the driver `local`, which those of a cache are, too. */
const checkLocalFile = ({
  compress,
  'max-file': files = '5',
  'max-size': size = '20m',
}: LogOptions): void => {
  readDecimalSize(size, `invalid value for max-size: ${size}: `)
  if (readInteger(files, `invalid value for max-file: ${files}: `) < 0)
    throw badRequest('max-file must not be negative')
  if (compress !== undefined) readTruth(compress, 'invalid boolean value for compress: ')
}

const checkLocal = (options: LogOptions): void => {
  for (const key of Object.keys(options))
    if (!fileOptions.includes(key)) throw badRequest(`unknown log opt '${key}' for log driver local`)
  checkLocalFile(options)
  const { compress = 'true', 'max-file': files = '5' } = options
  if (truthOf(compress) && Number(files) <= 1)
    throw badRequest('compression cannot be enabled when max file count is 1')
}

/** A tag is tried with a container that has nothing. */
const anybody: LogSource = {
  ...{ id: '0'.repeat(64), name: '', command: '', imageId: '', imageName: '', created: '', hostname: '' },
  env: [],
  labels: {},
}

const checkTexts = (options: LogOptions): void => {
  checkAttributes(options)
  tagOf(anybody, options)
}

/** What all drivers take. */
const checkCommon = (options: LogOptions): void => {
  const { mode = '', 'max-buffer-size': buffer, 'cache-disabled': disabled } = options
  if (!['', 'blocking', 'non-blocking'].includes(mode))
    throw badRequest(`logger: logging mode not supported: ${mode}`)
  if (buffer !== undefined && mode !== 'non-blocking')
    throw badRequest("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
  if (buffer !== undefined) readSize(buffer, 'error parsing option max-buffer-size: ')
  if (disabled && truthOf(disabled) === undefined)
    throw badRequest(`invalid value for option cache-disabled: ${disabled}`)
  const cached = cacheOptionsOf(options)
  checkLocalFile(cached)
  checkTexts(cached)
}

const unknownLogDriver = (type: string, why: string): Error =>
  badRequest(
    `logger: no log driver named '${type}' is registered: error looking up logging plugin ${type}: ${why}`,
  )

/**
 * Refuses unknown drivers and options, in Docker's words; the options of a plugin are its own.
 * Errors: `bad-request`, `not-implemented`.
 */
export const checkLogConfig = (
  type: string,
  config: Record<string, string>,
  isPlugin: (name: string) => boolean,
): void => {
  if (cloudDrivers.includes(type))
    throw notImplemented(
      `the log driver ${type} (use fluentd, gelf, syslog or a log plugin, and have that send lines on)`,
    )
  const driver = deliveringDrivers.get(type)
  if (!driver && !logDrivers.includes(type)) {
    if (!isPlugin(type)) throw unknownLogDriver(type, `plugin ${JSON.stringify(type)} not found`)
    checkCommon(config)
    return
  }
  if (type === 'none') return
  checkCommon(config)
  const own = Object.fromEntries(Object.entries(config).filter(([key]) => !commonOptions.includes(key)))
  if (driver) driver.check(own)
  else if (type === 'local') checkLocal(own)
  else checkJsonFile(own)
  checkTexts(own)
}

/** A plugin that is to take a new container's log must be there, once. Errors: `bad-request` in Docker's words. */
export const checkLogPlugin = async (
  engine: Engine,
  { hostConfig }: ContainerRecord,
  { signal }: Operation,
): Promise<void> => {
  const type = hostConfig.LogConfig?.Type ?? ''
  if (!isPluginDriver(type)) return
  try {
    await engine.plugins.get(type, 'LogDriver', { signal, patient: true })
  } catch (error) {
    signal.throwIfAborted()
    throw unknownLogDriver(type, messageOf(error))
  }
}
