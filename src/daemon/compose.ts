import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { accessWatcher } from '../api/access.ts'
import { builderDoor } from '../api/buildRoutes.ts'
import { allRoutes } from '../api/routes.ts'
import { createApiServer, serverVersion } from '../api/server.ts'
import { WorkerPool } from '../archive/pool.ts'
import { Builder } from '../build/builder.ts'
import { messageOf } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import type { Log } from '../core/log.ts'
import { LastNeed } from '../engine/cleanUp/lastNeed.ts'
import { Schedule } from '../engine/cleanUp/schedule.ts'
import { cleanUpWork } from '../engine/cleanUp/work.ts'
import { resumeDeliveries, stopDeliveries } from '../engine/containers/delivery/deliver.ts'
import { sweepSessions } from '../engine/containers/delivery/pluginSessions.ts'
import { Execs } from '../engine/containers/execs.ts'
import { monitorDirectories } from '../engine/containers/groups.ts'
import { countLogs } from '../engine/containers/logs/budget.ts'
import { endCompressions } from '../engine/containers/logs/compress.ts'
import { LogLedger } from '../engine/containers/logs/ledger.ts'
import { Registry } from '../engine/containers/registry.ts'
import { restoreContainers } from '../engine/containers/restore.ts'
import { recoverViews } from '../engine/containers/rootView.ts'
import { monitorEvents } from '../engine/containers/supervise.ts'
import type { ContainerRecord } from '../engine/containers/types.ts'
import type { Engine } from '../engine/engine.ts'
import { Events } from '../engine/events/events.ts'
import { LastUse } from '../engine/images/cleanUp/lastUse.ts'
import { imageCleanUpWork } from '../engine/images/cleanUp/schedule.ts'
import { collectEverything } from '../engine/images/collect.ts'
import { Fetches } from '../engine/images/fetches.ts'
import { Images } from '../engine/images/images.ts'
import { Uploads } from '../engine/images/pushUploads.ts'
import { remakeLayers } from '../engine/images/remake.ts'
import { Metrics } from '../engine/metrics/metrics.ts'
import { Connections } from '../engine/networks/connections.ts'
import { upstreamResolvConf } from '../engine/networks/hostResolver.ts'
import { Networks } from '../engine/networks/networks.ts'
import { watchOverlaps } from '../engine/networks/overlaps.ts'
import { type NetworkRecord, subnetsOf } from '../engine/networks/types.ts'
import { Operations } from '../engine/operations.ts'
import { PluginUses } from '../engine/volumes/pluginUses.ts'
import { recoverVolumes } from '../engine/volumes/recover.ts'
import { isWritten } from '../engine/volumes/users.ts'
import { Volumes } from '../engine/volumes/volumes.ts'
import { VolumeUsage } from '../engine/volumes/volumeUsage.ts'
import { appArmorState } from '../linux/appArmor.ts'
import { probeOverlay } from '../linux/overlay.ts'
import { openNameServers } from '../net/dns/servers.ts'
import type { DescriptorKeeper } from '../net/dns/types.ts'
import { Network } from '../net/network.ts'
import { upstreamServers } from '../net/resolv.ts'
import { parseCidr, poolsFor } from '../net/subnets.ts'
import type { PortKeeper } from '../net/types.ts'
import { Plugins } from '../plugins/plugins.ts'
import { createRegistryClient } from '../registry-client/client.ts'
import type { HolderClient } from '../runtime/types.ts'
import { openContentStore } from '../store/content.ts'
import { Database } from '../store/database.ts'
import { openLayerStore } from '../store/layers.ts'
import { Ballast } from '../store/reserve.ts'
import { openSnapshotStore } from '../store/snapshots.ts'
import { Trash } from '../store/trash.ts'
import type { SnapshotStore } from '../store/types.ts'
import { Unmounter } from '../store/unmounter.ts'
import { openUpperStore } from '../store/uppers.ts'
import type { AuditLog } from './auditLog.ts'
import { defaultBridge } from './bridge.ts'
import { DescriptorStore } from './descriptorStore.ts'
import {
  claimDockerSocket,
  defaultSocket,
  holdListeners,
  listenAll,
  listenedHosts,
  warnOfTcp,
} from './listen.ts'
import { countRequests, serveMetrics } from './metricsServer.ts'
import { claimMonitorScope } from './monitorScope.ts'
import { pluginFolders } from './pluginFolders.ts'
import type { DaemonSettings } from './settings.ts'
import { openTlsDoor, type TlsDoor } from './tlsDoor.ts'

/** The composition root: opens every store and service in order, restores, listens. */
export interface Daemon {
  /** Of this data root, as `docker info` shows it. */
  id: string
  engine: Engine
  holder: HolderClient
  /** Undefined where TCP goes without TLS. */
  tls: TlsDoor | undefined
  audit: AuditLog | undefined
  close(): Promise<void>
}

/** Facts about this data root that are no object of Docker's. */
const identityKind = 'daemon'

interface Identity {
  id: string
  bootId: string
}

const bootId = (): string =>
  process.env['BERTH_TEST_BOOT_ID'] ?? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

const identify = async (database: Database): Promise<Identity & { bootChanged: boolean }> => {
  const stored = (await database.load(identityKind))[0]?.value as Identity | undefined
  const now = bootId()
  const identity: Identity = { id: stored?.id ?? newId(), bootId: now }
  if (stored?.bootId !== now)
    await database.write([{ kind: identityKind, id: 'identity', value: identity }], { durable: true })
  return { ...identity, bootChanged: stored !== undefined && stored.bootId !== now }
}

const portKeeper = (store: DescriptorStore): PortKeeper => ({
  keep: (name, fd) => store.use(holder => holder.put(name, fd, 'port')),
  drop: name => store.use(holder => holder.drop(name)),
  names: () => store.use(holder => holder.list('port:').map(held => held.name)),
})

const nameKeeper = (store: DescriptorStore): DescriptorKeeper => ({
  keep: (name, fd) => store.use(holder => holder.put(name, fd, 'dns')),
  take: name => store.use(holder => holder.take(name)),
  drop: name => store.use(holder => holder.drop(name)),
  names: () => store.use(holder => holder.list('dns:').map(held => held.name)),
})

const knownSubnets = async (database: Database) => {
  const records = (await database.load('network')).map(({ value }) => value as NetworkRecord)
  const record = records.find(({ name }) => name === 'bridge')
  return record?.bridge && !record.bridge.foreign ? subnetsOf(record) : []
}

const openNetwork = (
  settings: DaemonSettings,
  log: Log,
  store: DescriptorStore,
  nameOf: (id: string) => string | undefined,
) =>
  Network.open({
    execRoot: settings.engine.execRoot,
    firewall: {
      table: settings.instance === '' ? 'berth' : `berth-${settings.instance}`,
      enabled: settings.firewall,
      ipv6: settings.firewall6,
      mode: settings.firewallMode,
      acceptForeign: settings.acceptForeign,
      acceptMark: settings.acceptMark,
      directRouting: settings.directRouting,
      keepForwarding: settings.keepForwarding,
    },
    namespaceHelper: [settings.engine.monitorBinary, 'userns'],
    ipForward: settings.ipForward,
    keeper: portKeeper(store),
    guard: true,
    containerName: nameOf,
    onWarning: text => log.warn(text),
  })

/** Starts everything. What it throws is a sentence for whoever started the daemon. */
export const openDaemon = async (
  settings: DaemonSettings,
  { log, audit }: { log: Log; audit: AuditLog | undefined },
): Promise<Daemon> => {
  const { dataRoot, execRoot, monitorBinary } = settings.engine
  mkdirSync(path.join(dataRoot, 'containers'), { recursive: true, mode: 0o710 })
  const ballast = new Ballast(dataRoot)
  ballast.releaseIfFull()
  const database = await Database.open(path.join(dataRoot, 'berth.db'))
  const identity = await identify(database)
  const store = await DescriptorStore.open(execRoot, {
    binary: monitorBinary,
    groups: monitorDirectories(settings.engine),
    log,
  })
  await claimMonitorScope(settings.engine, store.client.pid, log)
  store.onReplaced(holder => claimMonitorScope(settings.engine, holder.pid, log))
  const events = new Events(database)
  const pool = new WorkerPool()
  const { content, layers, uppers, snapshots, unmounter, trash } = openStores({
    settings,
    log,
    pool,
    bootId: identity.bootId,
    onDeleted: () => ballast.hold(),
  })
  const images = await Images.open(database, layers)
  const containers = await Registry.load(database)
  const network = await openNetwork(settings, log, store, id => containers.byId(id)?.record.name)
  const given = settings.addressPools.map(({ base, size }) => ({ base: parseCidr(base), size }))
  const pools = poolsFor(given, identity.id)
  const bridge = defaultBridge(settings, { network, pools, known: await knownSubnets(database) })
  const networks = await Networks.open({ database, network, pools }, bridge)
  const connections = new Connections({
    ...{ network, networks, events },
    nameServers: names =>
      openNameServers({
        keeper: nameKeeper(store),
        sandbox: id => network.sandboxPath(id),
        names,
        onWarning: text => log.warn(text),
      }),
    find: reference => containers.find(reference)?.record,
    upstreams: ({ hostConfig }) =>
      upstreamServers(
        upstreamResolvConf(settings.engine.dns.resolvConf),
        hostConfig.Dns?.length ? hostConfig.Dns : settings.engine.dns.servers,
      ),
  })
  const volumes = new Volumes({ dataRoot, trash })
  const metrics = new Metrics()
  const engine: Engine = {
    settings: settings.engine,
    log,
    database,
    events,
    ballast,
    pool,
    content,
    layers,
    uppers,
    unmounter,
    network,
    networks,
    connections,
    images,
    lastUse: await LastUse.open(database, log),
    lastNeed: await LastNeed.open(database, log),
    schedules: [new Schedule(imageCleanUpWork), new Schedule(cleanUpWork)],
    registries: createRegistryClient(settings.engine.registries),
    fetches: new Fetches({ content, layers, database, width: settings.engine.maxDownloads }),
    uploads: new Uploads(content, settings.engine.maxUploads),
    keepers: [],
    plugins: new Plugins(pluginFolders()),
    volumes,
    pluginUses: new PluginUses(execRoot),
    volumeUsage: new VolumeUsage({ volumes, pool, isWritten: name => isWritten(containers, name) }),
    containers,
    execs: new Execs(execRoot),
    logLedger: new LogLedger(),
    deliveries: new Map(),
    operations: new Operations((operation, seconds) => metrics.operationEnded(operation, seconds)),
    metrics,
    supervise: container => monitorEvents(engine, container),
    restoring: true,
    stopping: false,
  }
  await recover(engine, { snapshots, bootChanged: identity.bootChanged })
  const builder = await Builder.open({ engine, snapshots, trash, ...settings.builder })
  engine.keepers.push(builder)
  await collectEverything(engine)
  engine.lastUse.keepOnly(new Set(engine.images.all().map(({ id }) => id)))
  for (const schedule of engine.schedules) await schedule.arm(engine)
  watchOverlaps(engine)
  ballast.hold()
  if (ballast.warning) log.warn(ballast.warning)
  if (appArmorState() === 'unusable')
    log.warn(
      'AppArmor is on, but nothing can load its profiles, so containers get none: install it (apt-get install apparmor) and restart the daemon',
    )
  const door = builderDoor(builder)
  const http = createApiServer(engine, allRoutes({ id: identity.id, builder, door }), {
    door,
    watchers: [countRequests(engine), ...(audit ? [audit.watcher] : []), accessWatcher(engine)],
  })
  const metricsServer = await serveMetrics(engine, settings.metricsAddress, {
    id: identity.id,
    version: serverVersion,
  })
  const hosts = listenedHosts(settings.hosts)
  const tls = settings.tls && openTlsDoor(settings.tls, http, log)
  const listening = await listenAll({ hosts, group: settings.group, http, tls, holder: store.client, log })
  store.onReplaced(holder => holdListeners(holder, listening))
  store.onReplaced(() => connections.reserveAgain(runningRecords(engine)))
  for (const host of hosts) log.info(`API listen on ${host.text}`)
  if (!settings.tls?.verify) warnOfTcp(hosts, log)
  if (settings.hosts.length === 0 && settings.claimDockerSocket) claimDockerSocket(defaultSocket, log)
  return {
    id: identity.id,
    engine,
    tls,
    audit,
    get holder() {
      return store.client
    },
    close: async () => {
      metricsServer?.[Symbol.dispose]()
      await builder[Symbol.asyncDispose]()
      await stopDeliveries(engine)
      await endCompressions(engine)
      await engine.registries.close()
      engine.plugins[Symbol.dispose]()
      await events.flush()
      await database.close()
      await connections.close()
      await network.close()
    },
  }
}

const runningRecords = (engine: Engine): ContainerRecord[] =>
  engine.containers.all().flatMap(container => (container.isAlive ? [container.record] : []))

interface StoreNeeds {
  settings: DaemonSettings
  log: Log
  pool: WorkerPool
  bootId: string
  /** What was deleted in the background is gone. */
  onDeleted: () => void
}

/** Blobs, layers, uppers, and the trash of what is removed of others; without overlayfs the layers are copied for each container. */
const openStores = ({ settings, log, pool, bootId, onDeleted }: StoreNeeds) => {
  const { dataRoot: root, execRoot } = settings.engine
  const probe = probeOverlay(root, execRoot)
  if (!probe.path)
    log.warn(`overlayfs cannot be used on ${root}: every container gets a copy of its image`, {
      reason: probe.reason,
    })
  const onError = (path: string, error: unknown): void =>
    log.error('work on the disk failed in the background', { path, error: messageOf(error) })
  const content = openContentStore(root)
  const layers = openLayerStore({
    root,
    content,
    pool,
    whiteouts: probe.path ? 'overlay' : 'record',
    bootId,
    onError,
    onDeleted,
  })
  const unmounter = new Unmounter({ helper: [settings.engine.monitorBinary, 'unmount'] })
  const uppers = openUpperStore({
    root,
    execRoot,
    pool,
    unmounter,
    namespaceHelper: [settings.engine.monitorBinary, 'userns'],
    snapshotter: probe.path ?? 'copy',
    onError,
    onDeleted,
    onUnmounted: id => layers.released(id),
  })
  const snapshots = openSnapshotStore({
    ...{ root, execRoot, layers, pool, unmounter, bootId, onError, onDeleted },
    namespaceHelper: [settings.engine.monitorBinary, 'userns'],
    snapshotter: probe.path ?? 'copy',
  })
  const trash = new Trash({ root, pool, onError, onDeleted })
  return { content, layers, uppers, snapshots, unmounter, trash }
}

const recover = async (
  engine: Engine,
  { snapshots, bootChanged }: { snapshots: SnapshotStore; bootChanged: boolean },
): Promise<void> => {
  await engine.content.recover()
  await engine.layers.recover()
  await snapshots.recover()
  recoverViews(engine)
  await engine.uppers.recover()
  if (engine.settings.idMaps) await engine.uppers.checkOwners(engine.settings.idMaps)
  engine.layers.recoverReplaced(key => engine.uppers.mountedWith(key))
  await recoverVolumes(engine)
  await remakeLayers(engine)
  await restoreContainers(engine, bootChanged)
  sweepSessions(engine)
  resumeDeliveries(engine)
  void countLogs(engine).catch(error =>
    engine.log.error('logs could not be counted', { error: messageOf(error) }),
  )
}
