/** Engine API `ContainerStatsResponse`, field by field as Docker writes it. 64-bit counters are BigInt. */

export interface CpuUsage {
  /** Nanoseconds. */
  total_usage: bigint
  /** By core; version 1 of control groups only. */
  percpu_usage?: bigint[]
  usage_in_kernelmode: bigint
  usage_in_usermode: bigint
}

export interface CpuStats {
  cpu_usage: CpuUsage
  /** Nanoseconds of all cores of the host since its boot. */
  system_cpu_usage?: bigint
  online_cpus?: number
  throttling_data: { periods: bigint; throttled_periods: bigint; throttled_time: bigint }
}

/** Bytes; fields that are 0 are left out, as Docker leaves them out. */
export interface MemoryStats {
  usage?: bigint
  max_usage?: bigint
  stats?: Record<string, bigint>
  failcnt?: bigint
  limit?: bigint
}

export interface BlkioEntry {
  major: bigint
  minor: bigint
  op: string
  value: bigint
}

export interface BlkioStats {
  io_service_bytes_recursive: BlkioEntry[] | null
  io_serviced_recursive: BlkioEntry[] | null
  io_queue_recursive: BlkioEntry[] | null
  io_service_time_recursive: BlkioEntry[] | null
  io_wait_time_recursive: BlkioEntry[] | null
  io_merged_recursive: BlkioEntry[] | null
  io_time_recursive: BlkioEntry[] | null
  sectors_recursive: BlkioEntry[] | null
}

export interface InterfaceStats {
  rx_bytes: bigint
  rx_packets: bigint
  rx_errors: bigint
  rx_dropped: bigint
  tx_bytes: bigint
  tx_packets: bigint
  tx_errors: bigint
  tx_dropped: bigint
}

/** What control groups of either version tell. */
export interface GroupStats {
  cpu: Pick<CpuStats, 'cpu_usage' | 'throttling_data'>
  memory: MemoryStats
  pids: { current?: bigint; limit?: bigint }
  blkio: BlkioStats
}

/** One sample of one container; `preread` and `precpu_stats` are filled by who compares two. */
export interface Stats {
  id: string
  name: string
  os_type: 'linux'
  read: string
  cpu_stats: CpuStats
  memory_stats: MemoryStats
  networks?: Record<string, InterfaceStats>
  pids_stats: { current?: bigint; limit?: bigint }
  blkio_stats: BlkioStats
  num_procs: 0
  storage_stats: Record<string, never>
  preread: string
  precpu_stats: CpuStats
}
