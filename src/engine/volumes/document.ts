import type { Engine } from '../engine.ts'
import type { VolumeRecord } from './types.ts'

const orNull = (map: Record<string, string>): Record<string, string> | null =>
  Object.keys(map).length > 0 ? map : null

/** Engine API `Volume`. */
export const volumeJson = (engine: Engine, { name, created, labels, options }: VolumeRecord): object => ({
  CreatedAt: created.replace(/\.\d+/, ''),
  Driver: 'local',
  Labels: orNull(labels),
  Mountpoint: engine.volumes.data(name),
  Name: name,
  Options: orNull(options),
  Scope: 'local',
})
