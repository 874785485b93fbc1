import path from 'node:path'
import { badRequest, notImplemented } from '../../core/errors.ts'
import type { LogSettings } from '../../runtime/types.ts'
import type { EngineSettings, LogLimits } from '../settings.ts'
import type { ContainerRecord } from './types.ts'

/** The log driver of a container and its options. */

const drivers = ['json-file', 'none']
const laterDrivers = [
  'local',
  'journald',
  'syslog',
  'fluentd',
  'gelf',
  'awslogs',
  'splunk',
  'etwlogs',
  'gcplogs',
]
const jsonFileOptions = [
  'max-size',
  'max-file',
  'labels',
  'labels-regex',
  'env',
  'env-regex',
  'tag',
  'compress',
  'mode',
  'max-buffer-size',
]

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

/** Refuses unknown drivers and options, in Docker's words. Errors: `bad-request`, `not-implemented`. */
export const checkLogConfig = (type: string, config: Record<string, string>): void => {
  if (laterDrivers.includes(type)) throw notImplemented(`the log driver ${type}`)
  if (!drivers.includes(type)) throw badRequest(`logger: no log driver named '${type}' is registered`)
  if (type === 'none') return
  for (const key of Object.keys(config))
    if (!jsonFileOptions.includes(key)) throw badRequest(`unknown log opt '${key}' for json-file log driver`)
  const maxSize = config['max-size']
  if (maxSize !== undefined && maxSize !== '-1' && !((parseSize(maxSize) ?? 0) > 0))
    throw badRequest(`invalid value for 'max-size': ${maxSize}`)
  const maxFile = config['max-file']
  if (maxFile !== undefined && !/^[1-9]\d*$/.test(maxFile))
    throw badRequest(`max-file cannot be less than 1: ${maxFile}`)
  if (maxFile !== undefined && Number(maxFile) > 1 && maxSize === undefined)
    throw badRequest('max-file cannot be set without max-size')
}

const chosen = (
  all: Record<string, string>,
  names: string | undefined,
  pattern: string | undefined,
): Record<string, string> => {
  const wanted = new Set((names ?? '').split(',').filter(Boolean))
  const form = pattern ? new RegExp(pattern) : undefined
  return Object.fromEntries(Object.entries(all).filter(([key]) => wanted.has(key) || form?.test(key)))
}

const attrsOf = (record: ContainerRecord, config: Record<string, string>): string => {
  const env = Object.fromEntries(
    (record.config.Env ?? []).map(entry => [
      entry.split('=', 1)[0] ?? '',
      entry.slice(entry.indexOf('=') + 1),
    ]),
  )
  const attrs = {
    ...chosen(record.config.Labels ?? {}, config['labels'], config['labels-regex']),
    ...chosen(env, config['env'], config['env-regex']),
    ...(config['tag']
      ? {
          tag: config['tag']
            .replaceAll('{{.ID}}', record.id.slice(0, 12))
            .replaceAll('{{.Name}}', record.name)
            .replaceAll('{{.FullID}}', record.id),
        }
      : {}),
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

/** What the monitor is told about a container's log. */
export const logSettings = (
  settings: Pick<EngineSettings, 'dataRoot' | 'logLimits'>,
  record: ContainerRecord,
): LogSettings => {
  const { Type: type = 'json-file', Config: config = {} } = record.hostConfig.LogConfig ?? {}
  return {
    driver: type === 'none' ? 'none' : 'json-file',
    path: logPath(settings.dataRoot, record.id),
    ...logCaps(config, settings.logLimits),
    attrs: attrsOf(record, config),
  }
}
