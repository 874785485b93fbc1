import type { RegistrySettings } from '../registry-client/types.ts'
import type { SeccompProfile } from '../runtime/spec/seccomp.ts'
import type { RuntimeBinary } from '../runtime/types.ts'

/** What logs may take on the disk, in bytes. */
export interface LogLimits {
  /** Of one file, for containers whose options name none; 0 for no cap. */
  maxSize: number
  /** Files of such a container, the current one included. */
  maxFile: number
  /** Of all logs together; 0 for no budget. */
  budget: number
}

/** What unused images may take; what is absent is no limit. */
export interface CleanUpLimits {
  /** Bytes of all images together. */
  maxSize?: number
  /** Milliseconds since the last use. */
  maxAge?: number
  /** Bytes that are to be free on the data root's file system, or a share of it. */
  minFree?: { bytes: number } | { share: number }
  /** Filters of images that never go: `label=…`, `reference=…`. */
  keep: string[]
}

export interface ImageCleanUp extends CleanUpLimits {
  /** Milliseconds between two; 0 for none by itself. */
  interval: number
}

/** For containers that say nothing of it. */
export interface SecurityDefaults {
  noNewPrivileges: boolean
  /** `builtin`, `unconfined`, or the file that the profile was read from. */
  seccomp: { name: string; profile: SeccompProfile | undefined }
}

/** What the daemon was told by flags and daemon.json, as far as the services need it. */
export interface EngineSettings {
  /** `/var/lib/berth` */
  dataRoot: string
  /** `/run/berth` */
  execRoot: string
  /** The compiled monitor. */
  monitorBinary: string
  runtimes: Map<string, RuntimeBinary>
  defaultRuntime: string
  /** `cgroupfs` or `systemd` */
  cgroupDriver: 'cgroupfs' | 'systemd'
  /** `/berth`, or a slice with systemd. */
  cgroupParent: string
  /** `berth`, or `berth-<hash>` for another exec-root: begins the names of this daemon's scopes of systemd. */
  scopePrefix: string
  /** The unit of systemd that this daemon runs in; empty where there is none. */
  unit: string
  labels: string[]
  defaultLog: { type: string; options: Record<string, string> }
  logLimits: LogLimits
  imageCleanUp: ImageCleanUp
  defaultIpcMode: 'private' | 'shareable'
  defaultCgroupnsMode: 'private' | 'host'
  /** Run docker-init in every container. */
  init: boolean
  initPath: string
  liveRestore: boolean
  /** Seconds. */
  shutdownTimeout: number
  /** Seconds that a stopped container has to end by itself, where it says nothing of it. */
  defaultStopTimeout: number
  hostGatewayIp: string
  dns: { servers: string[]; search: string[]; options: string[] }
  /** Bytes. */
  defaultShmSize: number
  security: SecurityDefaults
  /** For containers that do not set them. */
  defaultUlimits: { Name: string; Soft: number; Hard: number }[]
  /** As given by `--default-address-pool`, for `docker info`. */
  addressPools: { base: string; size: number }[]
  /** Containers get the variables of their links, as they did before networks had names. */
  linkVariables: boolean
  /** Options by driver, for networks that name them not. */
  defaultNetworkOptions: Record<string, Record<string, string>>
  registries: RegistrySettings
  /** Blobs that come from registries at a time. */
  maxDownloads: number
  /** Blobs that go to registries at a time. */
  maxUploads: number
  debug: boolean
}
