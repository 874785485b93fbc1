import { cpus, totalmem } from 'node:os'
import type { Engine } from '../engine.ts'
import { hostFacts } from '../system/info.ts'
import { containerFamilies } from './containerFigures.ts'
import { type Family, familyText } from './text.ts'

/** All metrics of a daemon as Prometheus reads them. */

const gauge = (name: string, help: string, samples: Family['samples']): Family => ({
  ...{ name, help, type: 'gauge' },
  samples,
})

export interface DaemonIdentity {
  id: string
  version: string
}

const about = ({ id, version }: DaemonIdentity): Family[] => {
  const host = hostFacts()
  const labels = {
    ...{ version, commit: '', architecture: host.Architecture, graphdriver: 'overlay2' },
    ...{ kernel: host.KernelVersion, os: host.OperatingSystem, os_type: host.OSType },
    ...{ os_version: host.OSVersion, daemon_id: id },
  }
  return [
    gauge('engine_daemon_engine_info', 'The information related to the engine and the OS it is running on', [
      { labels, value: 1 },
    ]),
    gauge('engine_daemon_engine_cpus_cpus', 'The number of cpus that the host system of the engine has', [
      { value: cpus().length },
    ]),
    gauge(
      'engine_daemon_engine_memory_bytes',
      'The number of bytes of memory that the host system of the engine has',
      [{ value: totalmem() }],
    ),
  ]
}

/** Prometheus' own name for it. */
const memory = (): Family =>
  gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', [
    { value: process.memoryUsage.rss() },
  ])

const cpuTime = (): Family => {
  const { user, system } = process.cpuUsage()
  return {
    name: 'process_cpu_seconds_total',
    help: 'Total user and system CPU time spent in seconds.',
    type: 'counter',
    samples: [{ value: (user + system) / 1e6 }],
  }
}

const states = (engine: Engine): Family => {
  const counts = { running: 0, paused: 0, stopped: 0 }
  for (const container of engine.containers.all()) {
    if (!container.isRunning) counts.stopped++
    else if (container.record.state.status === 'paused') counts.paused++
    else counts.running++
  }
  return gauge(
    'engine_daemon_container_states_containers',
    'The count of containers in various states',
    Object.entries(counts).map(([state, value]) => ({ labels: { state }, value })),
  )
}

const events = ({ events: { published, listeners } }: Engine): Family[] => [
  {
    ...{ name: 'engine_daemon_events_total', help: 'The number of events logged', type: 'counter' },
    samples: [{ value: published }],
  },
  gauge('engine_daemon_events_subscribers_total', 'The number of current subscribers to events', [
    { value: listeners },
  ]),
]

const logs = ({ logLedger: { total, dropped } }: Engine): Family[] => [
  gauge('berth_logs_bytes', 'Bytes of all logs that count for the budget', [{ value: total }]),
  {
    ...{ name: 'berth_logs_dropped_bytes_total', help: 'Bytes of logs that the budget has dropped' },
    ...{ type: 'counter', samples: [{ value: dropped }] },
  },
]

/** Metrics in Prometheus' text format. Those of containers are left out where they are not asked for. */
export const expose = async (
  engine: Engine,
  identity: DaemonIdentity,
  { containers }: { containers: boolean },
): Promise<string> => {
  const families = [
    ...about(identity),
    ...engine.metrics.families(),
    states(engine),
    ...events(engine),
    ...logs(engine),
    memory(),
    cpuTime(),
    ...(containers ? await containerFamilies(engine) : []),
  ]
  return families.map(familyText).join('')
}
