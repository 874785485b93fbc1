import { setImmediate as yieldToOthers } from 'node:timers/promises'
import { messageOf } from '../../core/errors.ts'
import { cgroupVersion, readGroupFile } from '../../linux/cgroups.ts'
import type { Container } from '../containers/container.ts'
import { containerGroup } from '../containers/groups.ts'
import { sampleStats } from '../containers/stats/sample.ts'
import type { BlkioEntry, InterfaceStats, Stats } from '../containers/stats/types.ts'
import type { Engine } from '../engine.ts'
import type { Family, Sample } from './text.ts'

/** What each running container uses, read when it is asked for. */

const second = 1e9

type Values = { labels?: Record<string, string>; value: number | bigint | undefined }[]

interface Figure extends Pick<Family, 'name' | 'help' | 'type'> {
  of(subject: Subject): Values
}

interface Subject {
  container: Container
  stats: Stats
  pressure: Map<string, number>
}

const one = (value: number | bigint | undefined): Values => [{ value }]

const perInterface = (stats: Stats, field: keyof InterfaceStats): Values =>
  Object.entries(stats.networks ?? {}).map(([name, counters]) => ({
    labels: { interface: name },
    value: counters[field],
  }))

const blockBytes = (entries: BlkioEntry[] | null, op: string): Values =>
  one((entries ?? []).reduce((sum, entry) => (entry.op.toLowerCase() === op ? sum + entry.value : sum), 0n))

const figure = (name: string, type: Figure['type'], help: string, of: Figure['of']): Figure => ({
  name: `berth_container_${name}`,
  type,
  help,
  of,
})

const figures: readonly Figure[] = [
  figure('cpu_seconds_total', 'counter', 'CPU time used', ({ stats }) =>
    one(Number(stats.cpu_stats.cpu_usage.total_usage) / second),
  ),
  figure('cpu_throttled_seconds_total', 'counter', 'Time for which the CPU limit held it back', ({ stats }) =>
    one(Number(stats.cpu_stats.throttling_data.throttled_time) / second),
  ),
  figure('memory_usage_bytes', 'gauge', 'Memory used, page cache included', ({ stats }) =>
    one(stats.memory_stats.usage),
  ),
  figure('memory_limit_bytes', 'gauge', "The memory limit, or the host's memory", ({ stats }) =>
    one(stats.memory_stats.limit),
  ),
  figure('processes', 'gauge', 'Processes and threads', ({ stats }) => one(stats.pids_stats.current)),
  figure('block_read_bytes_total', 'counter', 'Bytes read from block devices', ({ stats }) =>
    blockBytes(stats.blkio_stats.io_service_bytes_recursive, 'read'),
  ),
  figure('block_written_bytes_total', 'counter', 'Bytes written to block devices', ({ stats }) =>
    blockBytes(stats.blkio_stats.io_service_bytes_recursive, 'write'),
  ),
  figure('network_received_bytes_total', 'counter', 'Bytes received, by interface', ({ stats }) =>
    perInterface(stats, 'rx_bytes'),
  ),
  figure('network_sent_bytes_total', 'counter', 'Bytes sent, by interface', ({ stats }) =>
    perInterface(stats, 'tx_bytes'),
  ),
  figure('restarts_total', 'counter', 'Restarts by its policy', ({ container }) =>
    one(container.record.restartCount),
  ),
  figure(
    'pressure_seconds_total',
    'counter',
    'Time in which processes waited for a resource',
    ({ pressure }) => [...pressure].map(([resource, value]) => ({ labels: { resource }, value })),
  ),
  figure('healthy', 'gauge', '1 where its health check says healthy, else 0', ({ container }) => {
    const { health } = container.record.state
    return health ? one(health.Status === 'healthy' ? 1 : 0) : []
  }),
]

/** PSI's `some` in seconds, by resource; empty where the kernel keeps none for a group. */
const pressureOf = (engine: Engine, container: Container): Map<string, number> => {
  const found = new Map<string, number>()
  if (cgroupVersion !== 2) return found
  const { group } = containerGroup(engine.settings, container.record)
  for (const resource of ['cpu', 'memory', 'io']) {
    const total = /^some .*total=(\d+)/m.exec(readGroupFile(group, '', `${resource}.pressure`) ?? '')?.[1]
    if (total !== undefined) found.set(resource, Number(total) / 1e6)
  }
  return found
}

const labelsOf = ({ id, record }: Container): Record<string, string> => ({
  id,
  name: record.name,
  image: record.config.Image ?? '',
})

/** So many containers are read before others have their turn. */
const atOnce = 8

export const containerFamilies = async (engine: Engine): Promise<Family[]> => {
  const samples = new Map<Figure, Sample[]>(figures.map(each => [each, []]))
  let read = 0
  for (const container of engine.containers.all()) {
    if (!container.isRunning) continue
    if (++read % atOnce === 0) await yieldToOthers()
    try {
      const stats = sampleStats(engine, container)
      const subject = { container, stats, pressure: pressureOf(engine, container) }
      const labels = labelsOf(container)
      for (const [each, list] of samples)
        for (const { labels: more, value } of each.of(subject))
          if (value !== undefined) list.push({ labels: { ...labels, ...more }, value })
    } catch (error) {
      engine.log.debug('no figures of a container', { container: container.id, error: messageOf(error) })
    }
  }
  return figures.map(each => ({ ...each, samples: samples.get(each) ?? [] }))
}
