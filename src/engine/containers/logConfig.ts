import path from 'node:path'
import type { LogSettings } from '../../runtime/types.ts'
import { parseDecimalSize } from '../../wire/sizes.ts'
import { truthOf } from '../../wire/truth.ts'
import type { EngineSettings, LogLimits } from '../settings.ts'
import { attributesOf } from './delivery/attributes.ts'
import { isDelivering } from './delivery/drivers.ts'
import { sourceOf } from './delivery/source.ts'
import { tagOf } from './delivery/tag.ts'
import type { ContainerRecord } from './types.ts'

/** The log driver of a container and its options. */

/** What each line carries besides its text. */
const attrsOf = (record: ContainerRecord, config: Record<string, string>): string => {
  const source = sourceOf(record)
  const attrs = {
    ...attributesOf(source, config),
    ...(config['tag'] ? { tag: tagOf(source, config) } : {}),
  }
  return Object.keys(attrs).length ? JSON.stringify(attrs) : ''
}

/** `<data-root>/containers/<id>` */
export const containerDirectory = (dataRoot: string, id: string): string =>
  path.join(dataRoot, 'containers', id)

/** The current file; the rotated ones stand beside it. */
export const logPath = (dataRoot: string, id: string): string =>
  path.join(containerDirectory(dataRoot, id), `${id}-json.log`)

/** How far a container's log may grow without another one's having to give way. `maxSize` 0: as far as it likes. */
interface LogCaps {
  maxSize: number
  maxFile: number
}

/** As many files as a monitor counts: those of a log without a cap. */
const manyFiles = 100_000
const mebi = 1024 ** 2

/** A log without a cap is written in parts all the same, so that the budget can take the oldest ones. */
const inParts = (budget: number): LogCaps =>
  budget === 0
    ? { maxSize: 0, maxFile: 1 }
    : { maxSize: Math.min(64 * mebi, Math.max(mebi, Math.floor(budget / 64))), maxFile: manyFiles }

/** The container's own options, as Docker takes them; without a size the daemon's caps. */
export const logCaps = (config: Record<string, string>, defaults: LogLimits): LogCaps => {
  const given = config['max-size']
  const maxSize =
    given === undefined
      ? defaults.maxSize
      : given === '-1'
        ? 0
        : (parseDecimalSize(given) ?? defaults.maxSize)
  if (maxSize === 0) return inParts(defaults.budget)
  return { maxSize, maxFile: Number(config['max-file'] ?? (given === undefined ? defaults.maxFile : 1)) }
}

/** Of the driver `local`. */
const localDefaults = { maxSize: 20 * mebi, maxFile: 5 }

const localCaps = (config: Record<string, string>, defaults: LogLimits): LogCaps => {
  const caps = logCaps(config, { ...defaults, maxSize: localDefaults.maxSize })
  if (parseDecimalSize(config['max-size'] ?? '') === 0) return caps
  return { ...caps, maxFile: Math.max(1, Number(config['max-file'] ?? localDefaults.maxFile)) }
}

/** Docker's `cache-` options, of the file in which a log is kept here that is delivered elsewhere, without that word. */
export const cacheOptionsOf = (config: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(config)
      .filter(([key, value]) => key.startsWith('cache-') && value !== '')
      .map(([key, value]) => [key.slice('cache-'.length), value]),
  )

/** One file would lose at each rotation what was not delivered yet. */
const cacheCaps = (config: Record<string, string>, defaults: LogLimits): LogCaps => {
  const caps = logCaps(cacheOptionsOf(config), defaults)
  return { ...caps, maxFile: Math.max(2, caps.maxFile) }
}

/** Whether rotated files are to be compressed. As with Docker, those of `local` and of the other drivers' cache are unless told otherwise. */
export const isCompressing = ({ hostConfig }: ContainerRecord): boolean => {
  const { Type: type = 'json-file', Config: config = {} } = hostConfig.LogConfig ?? {}
  const given = config[isDelivering(type) ? 'cache-compress' : 'compress'] ?? ''
  return type !== 'none' && (truthOf(given) ?? type !== 'json-file')
}

const capsOf = (type: string): typeof logCaps => {
  if (isDelivering(type)) return cacheCaps
  return type === 'local' ? localCaps : logCaps
}

/** What the monitor is told about a container's log. */
export const logSettings = (
  settings: Pick<EngineSettings, 'dataRoot' | 'logLimits'>,
  record: ContainerRecord,
): LogSettings => {
  const { Type: type = 'json-file', Config: config = {} } = record.hostConfig.LogConfig ?? {}
  return {
    driver: type === 'none' ? 'none' : 'json-file',
    path: logPath(settings.dataRoot, record.id),
    ...capsOf(type)(config, settings.logLimits),
    attrs: attrsOf(record, isDelivering(type) ? cacheOptionsOf(config) : config),
  }
}

/** The path of a log that is for others to read; empty where the file is only kept until it is delivered. */
export const publicLogPath = (dataRoot: string, record: ContainerRecord): string =>
  (record.hostConfig.LogConfig?.Type || 'json-file') === 'json-file' ? logPath(dataRoot, record.id) : ''
