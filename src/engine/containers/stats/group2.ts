import { counter, counters, limitOf, noBlkio, nonZero, pick } from './counters.ts'
import type { BlkioEntry, GroupStats } from './types.ts'

/** Figures of control groups version 2. Pure: `read` gives a file of the group. */

/** What `max` is in Docker's answers. */
const unlimited = 2n ** 64n - 1n

const memoryNames = [
  'anon',
  'file',
  'kernel_stack',
  'slab',
  'sock',
  'shmem',
  'file_mapped',
  'file_dirty',
  'file_writeback',
  'anon_thp',
  'inactive_anon',
  'active_anon',
  'inactive_file',
  'active_file',
  'unevictable',
  'slab_reclaimable',
  'slab_unreclaimable',
  'pgfault',
  'pgmajfault',
  'workingset_refault',
  'workingset_activate',
  'workingset_nodereclaim',
  'pgrefill',
  'pgscan',
  'pgsteal',
  'pgactivate',
  'pgdeactivate',
  'pglazyfree',
  'pglazyfreed',
  'thp_fault_alloc',
  'thp_collapse_alloc',
]

/** `8:0 rbytes=4096 wbytes=0 …` as one entry for reads and one for writes. */
export const ioEntries = (text: string | undefined): BlkioEntry[] =>
  (text ?? '').split('\n').flatMap(line => {
    const [, major, minor, rest = ''] = /^(\d+):(\d+) (.*)$/.exec(line) ?? []
    if (major === undefined || minor === undefined) return []
    const value = (name: string): bigint => counter(new RegExp(`(?:^| )${name}=(\\d+)`).exec(rest)?.[1])
    const device = { major: BigInt(major), minor: BigInt(minor) }
    return [
      { ...device, op: 'read', value: value('rbytes') },
      { ...device, op: 'write', value: value('wbytes') },
    ]
  })

const cpu = (text: string | undefined): GroupStats['cpu'] => {
  const stat = counters(text)
  const microseconds = (name: string): bigint => (stat.get(name) ?? 0n) * 1000n
  return {
    cpu_usage: {
      total_usage: microseconds('usage_usec'),
      usage_in_kernelmode: microseconds('system_usec'),
      usage_in_usermode: microseconds('user_usec'),
    },
    throttling_data: {
      periods: stat.get('nr_periods') ?? 0n,
      throttled_periods: stat.get('nr_throttled') ?? 0n,
      throttled_time: microseconds('throttled_usec'),
    },
  }
}

export const group2Stats = (read: (file: string) => string | undefined): GroupStats => {
  const entries = ioEntries(read('io.stat'))
  const current = read('memory.current')
  return {
    cpu: cpu(read('cpu.stat')),
    memory: {
      ...nonZero({
        usage: counter(current),
        failcnt: counters(read('memory.events')).get('oom') ?? 0n,
        limit: current === undefined ? 0n : (limitOf(read('memory.max')) ?? unlimited),
      }),
      stats: pick(counters(read('memory.stat')), memoryNames),
    },
    pids: nonZero({
      current: counter(read('pids.current')),
      limit: read('pids.max') === undefined ? 0n : (limitOf(read('pids.max')) ?? unlimited),
    }),
    blkio: { ...noBlkio(), io_service_bytes_recursive: entries.length ? entries : null },
  }
}
