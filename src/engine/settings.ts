import type { IdMaps } from '../linux/idMaps.ts'
import type { ContainerContexts } from '../linux/selinux.ts'
import type { RegistrySettings } from '../registry-client/types.ts'
import type { SeccompProfile } from '../runtime/spec/seccomp.ts'
import type { RuntimeBinary } from '../runtime/types.ts'
import type { CleanUpSettings } from './cleanUp/types.ts'

export const firstProbes = ['interval', 'immediate'] as const
export type FirstProbe = (typeof firstProbes)[number]

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
  /** Contexts of SELinux; undefined where containers are given none. */
  selinux?: ContainerContexts
}

/** What some clients may do. Of several that name a client the first counts. */
export interface AccessPolicy {
  name: string
  /** Any of these; absent for everyone. */
  who?: {
    /** User ids. */
    users: readonly number[]
    /** Group ids, supplementary ones included. */
    groups: readonly number[]
    /** Common names of certificates, as patterns. */
    certificates: readonly RegExp[]
    /** Paths of unix sockets that the client came by. */
    sockets: readonly string[]
  }
  /** Docker's operation ids. */
  operations: ReadonlySet<string>
}

/** What the daemon was told by flags and daemon.json, as far as the services need it. */
export interface EngineSettings {
  /** `/var/lib/berth` */
  dataRoot: string
  /** `/run/berth` */
  execRoot: string
  /** The compiled monitor. */
  monitorBinary: string
  /** The file that pins a mount namespace with nothing in it, for `RuntimeView`; empty where the kernel gives none. */
  bareNamespace: string
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
  cleanUp: CleanUpSettings
  /** Milliseconds between two; 0 for none by itself. */
  cleanUpInterval: number
  defaultIpcMode: 'private' | 'shareable'
  defaultCgroupnsMode: 'private' | 'host'
  /** Run docker-init in every container. */
  init: boolean
  /** When a health check is first run: as soon as its container runs, or after an interval, as Docker does. */
  healthFirstProbe: FirstProbe
  initPath: string
  liveRestore: boolean
  /** Seconds. */
  shutdownTimeout: number
  /** Seconds that a stopped container has to end by itself, where it says nothing of it. */
  defaultStopTimeout: number
  hostGatewayIp: string
  /** `resolvConf` is read in place of the host's; empty for that. */
  dns: { servers: string[]; search: string[]; options: string[]; resolvConf: string }
  /** Bytes. */
  defaultShmSize: number
  /** Most bytes of a writable layer, for containers that say nothing of it; 0 for no limit. */
  layerLimit: number
  security: SecurityDefaults
  /** Of the user namespaces that new containers get; undefined where they get none. */
  idMaps: IdMaps | undefined
  /** For the groups above the containers': microseconds, 0 for what is left as it is. */
  cpuRealtime: { period: number; runtime: number }
  /** Where specifications of devices (CDI) lie, the later the more they count; none where CDI is off. */
  cdiFolders: string[]
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
  /** Clients that ask are told to build by BuildKit's protocol. */
  buildkit: boolean
  /** What Docker calls experimental is said to be on. */
  experimental: boolean
  /** Names of the plugins that each request must be allowed by, in their order. */
  authorizationPlugins: string[]
  /** Who none of them names may do all. */
  accessPolicies: readonly AccessPolicy[]
}
