import { type Decoded, map, object, string } from './decode.ts'

/** Requests about volumes: Engine API `VolumeCreateOptions`. */

export const volumeCreateRequest = object({
  Name: string,
  Driver: string,
  DriverOpts: map(string),
  Labels: map(string),
  /** Cluster volumes alone. */
  ClusterVolumeSpec: object({}),
})
export type VolumeCreateRequest = Decoded<typeof volumeCreateRequest>
