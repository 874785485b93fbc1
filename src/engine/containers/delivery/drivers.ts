import { fluentd } from './fluentd.ts'
import { gelf } from './gelf.ts'
import { journald } from './journald.ts'
import { syslog } from './syslog.ts'
import type { LogDriver } from './types.ts'

/** Drivers whose lines are delivered somewhere. */
export const deliveringDrivers: ReadonlyMap<string, LogDriver> = new Map([
  ['fluentd', fluentd],
  ['gelf', gelf],
  ['journald', journald],
  ['syslog', syslog],
])

const others = ['', 'json-file', 'none', 'local', 'awslogs', 'splunk', 'etwlogs', 'gcplogs']

/** Every other name is a plugin's, whether it is there or not. */
export const isPluginDriver = (type: string): boolean =>
  !deliveringDrivers.has(type) && !others.includes(type)

export const isDelivering = (type: string): boolean => deliveringDrivers.has(type) || isPluginDriver(type)
