import type { IdMaps } from '../../linux/idMaps.ts'
import type { Endpoint, PortRequest } from '../../net/types.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ContainerConfig, HostConfig } from '../../wire/container.ts'
import type { Ending, RunEnd, RunStart } from './endTypes.ts'
import type { SelinuxLabels } from './selinuxLabels.ts'

/**
 * A container as it is stored. Life: `created` → `running` ⇄ `paused` →
 * `exited` (→ `running` again) → removed; `restarting` is `exited` with a
 * restart under way; `dead` is one whose removal failed half-way.
 */
export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'

/** An image that is mounted, as it was when that was decided. */
export interface MountedImage {
  id: Digest
  /** Its layers, bottom first. */
  diffIds: Digest[]
}

/**
 * Whose the files of a bind are in the container. `match-user`: the source's
 * owner is `user` there, or the container's own. `userns`: as the container's
 * user namespace has it, what is on disk being what is inside.
 */
export interface OwnerMapping {
  source: 'match-user' | 'userns'
  /** As `--user` takes it. */
  user?: string
}

/** A mount of a container other than the kernel's, as decided at create. */
export interface MountPoint {
  type: 'bind' | 'tmpfs' | 'volume' | 'image'
  /** Path on the host, of a volume or an image all of it whatever part is mounted; empty for tmpfs, and for a foreign volume until its plugin has mounted it. */
  source: string
  /** Path in the container, absolute and clean. */
  destination: string
  readWrite: boolean
  /** `rprivate`, …; of a bind always there. */
  propagation: string
  /** That one is Berth's own choice, and `rprivate` will do where the host's mount cannot have it. */
  propagationIsDefault?: true
  /** The mode part of `-v`, as given. */
  mode: string
  /** Name of a volume, or of an image as it was asked for; empty for others. */
  name: string
  /** Of a volume: asked for by this name, so that it stays when its container is removed with its volumes. */
  named?: true
  /** Of a foreign volume: its plugin. */
  driver?: string
  /** Of an image mount, once the container is there. */
  image?: MountedImage
  /** Of a volume or an image: the part of it that is mounted. */
  subpath?: string
  /** Mount options of a tmpfs; of others, while they are bound, flags of the host's mount. */
  options: string[]
  nonRecursive: boolean
  idMapping?: OwnerMapping
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
  ipv6?: string
  /** `--link-local-ip`; absent for none. */
  linkLocal?: string[]
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
  /** Of its user namespace, as it was made with; absent where it has none. */
  idMaps?: IdMaps
  /** Absent where SELinux is off. */
  selinux?: SelinuxLabels
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
  /** Of a build's step: it is in no list and no database, and its networks tell nobody of it. */
  isStep?: true
  /** Runs so far: names each run's directory. */
  runs: number
  /** What began the latest run, or the latest try. */
  begun?: RunStart
  /** What is about to end the run. */
  ending?: Ending
  /** How the latest runs ended, oldest first. */
  ends?: RunEnd[]
}
