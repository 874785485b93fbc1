import type { RegistrySettings } from '../registry-client/types.ts'
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
  defaultIpcMode: 'private' | 'shareable'
  defaultCgroupnsMode: 'private' | 'host'
  /** Run docker-init in every container. */
  init: boolean
  initPath: string
  liveRestore: boolean
  /** Seconds. */
  shutdownTimeout: number
  hostGatewayIp: string
  dns: { servers: string[]; search: string[]; options: string[] }
  /** Bytes. */
  defaultShmSize: number
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
