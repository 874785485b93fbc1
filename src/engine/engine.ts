import type { WorkerPool } from '../archive/pool.ts'
import type { Log } from '../core/log.ts'
import type { Network } from '../net/network.ts'
import type { Digest } from '../oci/digest.ts'
import type { Plugins } from '../plugins/plugins.ts'
import type { RegistryClient } from '../registry-client/types.ts'
import type { MonitorEvents } from '../runtime/types.ts'
import type { Database } from '../store/database.ts'
import type { Ballast } from '../store/reserve.ts'
import type { ContentStore, LayerStore, UpperStore } from '../store/types.ts'
import type { Unmounter } from '../store/unmounter.ts'
import type { LastNeed } from './cleanUp/lastNeed.ts'
import type { Schedule } from './cleanUp/schedule.ts'
import type { Container } from './containers/container.ts'
import type { Deliveries } from './containers/delivery/deliver.ts'
import type { Execs } from './containers/execs.ts'
import type { LogLedger } from './containers/logs/ledger.ts'
import type { Registry } from './containers/registry.ts'
import type { Events } from './events/events.ts'
import type { LastUse } from './images/cleanUp/lastUse.ts'
import type { Fetches } from './images/fetches.ts'
import type { Images } from './images/images.ts'
import type { Uploads } from './images/pushUploads.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { Connections } from './networks/connections.ts'
import type { Networks } from './networks/networks.ts'
import type { Operations } from './operations.ts'
import type { EngineSettings } from './settings.ts'
import type { PluginUses } from './volumes/pluginUses.ts'
import type { Volumes } from './volumes/volumes.ts'
import type { VolumeUsage } from './volumes/volumeUsage.ts'

/** Of a build cache. Times in milliseconds since the epoch, bytes. */
export interface CacheItem {
  id: string
  parents: readonly string[]
  /** `regular`, `source.local`, `exec.cachemount`, … */
  type: string
  description: string
  inUse: boolean
  shared: boolean
  size: number
  createdAt: number
  lastUsedAt: number
  usageCount: number
}

/** Needs blobs and layers that no image names. */
export interface Keeper {
  items(): Promise<CacheItem[]>
  blobs(): Iterable<Digest>
  /** Keys of layers. */
  layers(): Iterable<Digest>
  /** Names of what has a layer mounted, for itself alone. */
  mountedWith(key: Digest): string[]
}

/** What the services work with; made once by the composition root in `daemon/`. */
export interface Engine {
  settings: EngineSettings
  log: Log
  database: Database
  events: Events
  /** Space kept for a full disk. */
  ballast: Ballast
  /** Workers for archives: copies, exports, imports. */
  pool: WorkerPool
  content: ContentStore
  layers: LayerStore
  uppers: UpperStore
  /** Unmounts what may hang. */
  unmounter: Unmounter
  network: Network
  networks: Networks
  connections: Connections
  images: Images
  /** When containers used which image. */
  lastUse: LastUse
  /** When volumes and networks lost their last container. */
  lastNeed: LastNeed
  schedules: readonly Schedule[]
  registries: RegistryClient
  /** Blobs on their way from registries. */
  fetches: Fetches
  /** Blobs on their way to registries. */
  uploads: Uploads
  /** Whoever beside images and containers keeps blobs and layers: the builder's cache. */
  keepers: Keeper[]
  plugins: Plugins
  volumes: Volumes
  /** What plugins have mounted. */
  pluginUses: PluginUses
  volumeUsage: VolumeUsage
  containers: Registry
  execs: Execs
  /** What logs take on the disk. */
  logLedger: LogLedger
  /** Logs on their way to where their drivers say. */
  deliveries: Deliveries
  operations: Operations
  metrics: Metrics
  /** What the daemon does when a container's monitor speaks (containers/supervise.ts). */
  supervise(container: Container): MonitorEvents
  /** Set until what an earlier daemon left has been taken back. */
  restoring: boolean
  /** Set while the daemon shuts down: nothing new is started. */
  stopping: boolean
}
