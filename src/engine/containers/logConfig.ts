import path from 'node:path'
import type { LogSettings } from '../../runtime/types.ts'
import type { EngineSettings, LogLimits } from '../settings.ts'
import { attributesOf } from './delivery/attributes.ts'
import { deliveringDrivers } from './delivery/drivers.ts'
import { sourceOf } from './delivery/source.ts'
import { tagOf } from './delivery/tag.ts'
import type { ContainerRecord } from './types.ts'

/** The log driver of a container and its options. */

const units: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
}

/** `10m`, `1.5g`, `2048` in bytes; undefined if it is no size. */
export const parseSize = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text.trim())
  const unit = units[(match?.[2] ?? '').toLowerCase()]
  return match && unit !== undefined ? Math.floor(Number(match[1]) * unit) : undefined
}

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
    given === undefined ? defaults.maxSize : given === '-1' ? 0 : (parseSize(given) ?? defaults.maxSize)
  if (maxSize === 0) return inParts(defaults.budget)
  return { maxSize, maxFile: Number(config['max-file'] ?? (given === undefined ? defaults.maxFile : 1)) }
}

/**
 * A log that is delivered elsewhere is kept here, too, by Docker's `cache-` options. One file would
 * lose at each rotation what was not delivered yet.
 */
const cacheCaps = (config: Record<string, string>, defaults: LogLimits): LogCaps => {
  const size = config['cache-max-size']
  const files = config['cache-max-file']
  const caps = logCaps(
    { ...(size ? { 'max-size': size } : {}), ...(files ? { 'max-file': files } : {}) },
    defaults,
  )
  return { ...caps, maxFile: Math.max(2, caps.maxFile) }
}

/** What the monitor is told about a container's log. */
export const logSettings = (
  settings: Pick<EngineSettings, 'dataRoot' | 'logLimits'>,
  record: ContainerRecord,
): LogSettings => {
  const { Type: type = 'json-file', Config: config = {} } = record.hostConfig.LogConfig ?? {}
  const isDelivered = deliveringDrivers.has(type)
  return {
    driver: type === 'none' ? 'none' : 'json-file',
    path: logPath(settings.dataRoot, record.id),
    ...(isDelivered ? cacheCaps(config, settings.logLimits) : logCaps(config, settings.logLimits)),
    attrs: isDelivered ? '' : attrsOf(record, config),
  }
}

/** The path of a log that is for others to read; empty where the file is only kept until it is delivered. */
export const publicLogPath = (dataRoot: string, record: ContainerRecord): string =>
  (record.hostConfig.LogConfig?.Type || 'json-file') === 'json-file' ? logPath(dataRoot, record.id) : ''
