import { gelf } from './gelf.ts'
import { syslog } from './syslog.ts'
import type { LogDriver } from './types.ts'

/** Drivers whose lines are delivered somewhere. */
export const deliveringDrivers: ReadonlyMap<string, LogDriver> = new Map([
  ['gelf', gelf],
  ['syslog', syslog],
])
