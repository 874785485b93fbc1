import { counter, counters, limitOf, noBlkio, nonZero, pick, tick } from './counters.ts'
import type { BlkioEntry, BlkioStats, GroupStats } from './types.ts'

/** Figures of control groups version 1. Pure: `read` gives a controller's file. */

export type ReadFile = (controller: string, file: string) => string | undefined

const own = [
  'cache',
  'rss',
  'rss_huge',
  'mapped_file',
  'dirty',
  'writeback',
  'pgpgin',
  'pgpgout',
  'pgfault',
  'pgmajfault',
  'inactive_anon',
  'active_anon',
  'inactive_file',
  'active_file',
  'unevictable',
]

const memoryNames = [
  ...own,
  'hierarchical_memory_limit',
  'hierarchical_memsw_limit',
  ...own.map(name => `total_${name}`),
]

/** `8:0 Read 4096`, or `8:0 12` without an operation; sums over all devices are left out. */
export const blkioEntries = (text: string | undefined): BlkioEntry[] =>
  (text ?? '').split('\n').flatMap(line => {
    const [, major = '', minor = '', op = '', value = ''] =
      /^(\d+):(\d+)(?: ([A-Za-z]+))? (\d+)$/.exec(line) ?? []
    return value === '' ? [] : [{ major: BigInt(major), minor: BigInt(minor), op, value: BigInt(value) }]
  })

/** Files by field: CFQ's and BFQ's own counters where there are any, else those of throttling. */
const files = {
  io_service_bytes_recursive: [
    'io_service_bytes_recursive',
    'bfq.io_service_bytes_recursive',
    'throttle.io_service_bytes_recursive',
    'throttle.io_service_bytes',
  ],
  io_serviced_recursive: [
    'io_serviced_recursive',
    'bfq.io_serviced_recursive',
    'throttle.io_serviced_recursive',
    'throttle.io_serviced',
  ],
  io_queue_recursive: ['io_queued_recursive', 'bfq.io_queued_recursive'],
  io_service_time_recursive: ['io_service_time_recursive', 'bfq.io_service_time_recursive'],
  io_wait_time_recursive: ['io_wait_time_recursive', 'bfq.io_wait_time_recursive'],
  io_merged_recursive: ['io_merged_recursive', 'bfq.io_merged_recursive'],
  io_time_recursive: ['time_recursive', 'bfq.time_recursive'],
  sectors_recursive: ['sectors_recursive', 'bfq.sectors_recursive'],
} satisfies Record<keyof BlkioStats, string[]>

const blkio = (read: ReadFile): BlkioStats => {
  const stats = noBlkio()
  for (const [field, names] of Object.entries(files)) {
    const lists = names.map(name => blkioEntries(read('blkio', `blkio.${name}`)))
    stats[field as keyof BlkioStats] = lists.find(list => list.length > 0) ?? []
  }
  return stats
}

const cpu = (read: ReadFile): GroupStats['cpu'] => {
  const spent = counters(read('cpuacct', 'cpuacct.stat'))
  const throttled = counters(read('cpu', 'cpu.stat'))
  const cores = (read('cpuacct', 'cpuacct.usage_percpu') ?? '').split(/\s+/).filter(Boolean)
  return {
    cpu_usage: {
      total_usage: counter(read('cpuacct', 'cpuacct.usage')),
      ...(cores.length ? { percpu_usage: cores.map(counter) } : {}),
      usage_in_kernelmode: (spent.get('system') ?? 0n) * tick,
      usage_in_usermode: (spent.get('user') ?? 0n) * tick,
    },
    throttling_data: {
      periods: throttled.get('nr_periods') ?? 0n,
      throttled_periods: throttled.get('nr_throttled') ?? 0n,
      throttled_time: throttled.get('throttled_time') ?? 0n,
    },
  }
}

export const group1Stats = (read: ReadFile): GroupStats => {
  const file = (name: string): bigint => counter(read('memory', `memory.${name}`))
  const sizes = nonZero({
    usage: file('usage_in_bytes'),
    max_usage: file('max_usage_in_bytes'),
    failcnt: file('failcnt'),
    limit: file('limit_in_bytes'),
  })
  return {
    cpu: cpu(read),
    memory: { ...sizes, stats: pick(counters(read('memory', 'memory.stat')), memoryNames) },
    pids: nonZero({
      current: counter(read('pids', 'pids.current')),
      limit: limitOf(read('pids', 'pids.max')) ?? 0n,
    }),
    blkio: blkio(read),
  }
}
