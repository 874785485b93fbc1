import type { Engine } from '../engine.ts'
import { driverOf, isForeign, type VolumeRecord } from './types.ts'

const orNull = (map: Record<string, string>): Record<string, string> | null =>
  Object.keys(map).length > 0 ? map : null

/** Engine API `Volume`. */
export const volumeJson = (engine: Engine, record: VolumeRecord): object => ({
  CreatedAt: record.created.replace(/\.\d+/, ''),
  Driver: driverOf(record),
  Labels: orNull(record.labels),
  Mountpoint: isForeign(record) ? '' : engine.volumes.data(record.name),
  Name: record.name,
  Options: orNull(record.options),
  Scope: 'local',
})
