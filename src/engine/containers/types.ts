import type { Endpoint, PortRequest } from '../../net/types.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ContainerConfig, HostConfig } from '../../wire/container.ts'

/**
 * A container as it is stored. Life: `created` → `running` ⇄ `paused` →
 * `exited` (→ `running` again) → removed; `restarting` is `exited` with a
 * restart under way; `dead` is one whose removal failed half-way.
 */
export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'

/** A mount of a container other than the kernel's, as decided at create. */
export interface MountPoint {
  type: 'bind' | 'tmpfs' | 'volume'
  /** Path on the host, of a volume its data whatever part is mounted; empty for tmpfs. */
  source: string
  /** Path in the container, absolute and clean. */
  destination: string
  readWrite: boolean
  /** `rprivate`, …; empty is the default. */
  propagation: string
  /** The mode part of `-v`, as given. */
  mode: string
  /** Name of a volume; empty for others. */
  name: string
  /** Of a volume: asked for by this name, so that it stays when its container is removed with its volumes. */
  named?: true
  /** Of a volume: the part of it that is mounted. */
  subpath?: string
  /** Mount options of a tmpfs; of others, while they are bound, flags of the host's mount. */
  options: string[]
  nonRecursive: boolean
  /** Read-only: whether mounts below it are so, too. Absent: where kernel and runtime can. */
  recursiveReadOnly?: 'never' | 'always'
  /** Make the source directory if it is missing (`-v`, and `create-src`). */
  createSource: boolean
  /** Fill the volume from the image when the container is created, where it is empty. */
  copyUp: boolean
}

export interface HealthProbe {
  Start: string
  End: string
  ExitCode: number
  Output: string
}

export interface HealthState {
  Status: 'none' | 'starting' | 'healthy' | 'unhealthy'
  FailingStreak: number
  Log: HealthProbe[]
}

export interface StateRecord {
  status: ContainerStatus
  pid: number
  exitCode: number
  error: string
  oomKilled: boolean
  /** RFC 3339 with nanoseconds; Go's zero time before the first. */
  startedAt: string
  finishedAt: string
  /** Stopped by somebody's call: `unless-stopped` and `on-failure` leave it alone. */
  stoppedByCall: boolean
  health?: HealthState
}

/** One network of a container: what was asked for, and, while it runs, what it has. */
export interface NetworkAttachment {
  /** As it is called, or was asked for where it did not exist yet. */
  networkName: string
  /** Empty until the network is known. */
  networkId: string
  /** Empty while it is not connected. */
  endpointId: string
  aliases: string[]
  /** `container:alias`, of a user-defined network. */
  links?: string[]
  /** Asked for; empty for any. */
  mac: string
  /** Asked for; absent for any. */
  ipv4?: string
  driverOptions?: Record<string, string>
  /** The highest is the way out; 0 where nothing is said. */
  gatewayPriority?: number
  /** While it runs: what is in the kernel. */
  endpoint?: Endpoint
}

/** A link to another container, by an alias that is unique among the container's links. */
export interface ContainerLink {
  alias: string
  /** Full id of the container that it leads to. */
  id: string
}

export interface ContainerRecord {
  id: string
  /** Without the leading slash. */
  name: string
  created: string
  imageId: Digest
  /** Layers of the image, bottom first. */
  diffIds: Digest[]
  platform: string
  config: ContainerConfig
  hostConfig: HostConfig
  mounts: MountPoint[]
  ports: PortRequest[]
  networks: NetworkAttachment[]
  /** On the default bridge. */
  links?: ContainerLink[]
  state: StateRecord
  restartCount: number
  /** A forced removal that has begun: whoever finds this carries it on. */
  removal?: { volumes: boolean }
  /** Paused for a commit under way: whoever finds this lets it run on. */
  passingPause?: boolean
  /** Runs so far: names each run's directory. */
  runs: number
}
