import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { nowText, zeroTime } from '../../../core/clock.ts'
import { cgroupVersion, readGroupFile } from '../../../linux/cgroups.ts'
import type { EndpointStats } from '../../../net/types.ts'
import type { Engine } from '../../engine.ts'
import type { Container } from '../container.ts'
import { containerGroup } from '../groups.ts'
import { hostCpu, noBlkio, noCpu } from './counters.ts'
import { group1Stats } from './group1.ts'
import { group2Stats } from './group2.ts'
import type { GroupStats, InterfaceStats, Stats } from './types.ts'

/** What a container that does not run is said to use. */
export const emptyStats = (container: Container): Stats => ({
  id: container.id,
  name: `/${container.record.name}`,
  os_type: 'linux',
  read: zeroTime,
  cpu_stats: noCpu(),
  memory_stats: {},
  pids_stats: {},
  blkio_stats: noBlkio(),
  num_procs: 0,
  storage_stats: {},
  preread: zeroTime,
  precpu_stats: noCpu(),
})

const interfaceStats = (stats: EndpointStats): InterfaceStats => ({
  rx_bytes: stats.rxBytes,
  rx_packets: stats.rxPackets,
  rx_errors: stats.rxErrors,
  rx_dropped: stats.rxDropped,
  tx_bytes: stats.txBytes,
  tx_packets: stats.txPackets,
  tx_errors: stats.txErrors,
  tx_dropped: stats.txDropped,
})

/** The container whose network this one uses. */
const networkOwner = (engine: Engine, container: Container): Container | undefined => {
  let owner: Container | undefined = container
  for (let hops = 0; owner && hops < 64; hops++) {
    const mode: string = owner.record.hostConfig.NetworkMode ?? ''
    if (!mode.startsWith('container:')) return owner
    owner = engine.containers.byId(mode.slice('container:'.length))
  }
  return undefined
}

const networks = (engine: Engine, container: Container): Record<string, InterfaceStats> => {
  const found: Record<string, InterfaceStats> = {}
  for (const { endpoint } of networkOwner(engine, container)?.record.networks ?? []) {
    if (!endpoint) continue
    try {
      found[endpoint.interfaceName] = interfaceStats(engine.network.stats(endpoint))
    } catch (error) {
      // It goes with the container, which may be ending just now.
      engine.log.debug('no figures of an interface', { interface: endpoint.interfaceName, error })
    }
  }
  return found
}

const groupStats = (group: string): GroupStats =>
  cgroupVersion === 2
    ? group2Stats(file => readGroupFile(group, '', file))
    : group1Stats((controller, file) => readGroupFile(group, controller, file))

/** The host's memory is the limit of a container without one. */
const bounded = (memory: GroupStats['memory']): GroupStats['memory'] => {
  const most = BigInt(totalmem())
  return memory.limit !== undefined && memory.limit > most ? { ...memory, limit: most } : memory
}

/** One sample, now; the zeroed one where the container does not run. */
export const sampleStats = (engine: Engine, container: Container): Stats => {
  const empty = emptyStats(container)
  if (!container.isRunning) return empty
  const { cpu, memory, pids, blkio } = groupStats(containerGroup(engine.settings, container.record).group)
  const host = hostCpu(readFileSync('/proc/stat', 'latin1'))
  const interfaces = networks(engine, container)
  return {
    ...empty,
    read: nowText(),
    cpu_stats: { ...cpu, system_cpu_usage: host.usage, online_cpus: host.cores },
    memory_stats: bounded(memory),
    ...(Object.keys(interfaces).length ? { networks: interfaces } : {}),
    pids_stats: pids,
    blkio_stats: blkio,
  }
}
