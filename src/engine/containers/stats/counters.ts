import type { BlkioStats, CpuStats } from './types.ts'

/** Texts of the kernel's counters, and what is shown where there are none. Pure. */

/** The number at the start of a file; 0 where there is none. */
export const counter = (text: string | undefined): bigint => {
  const [digits] = /^\d+/.exec(text ?? '') ?? []
  return digits === undefined ? 0n : BigInt(digits)
}

/** A limit; undefined for `max`. */
export const limitOf = (text: string | undefined): bigint | undefined =>
  text === undefined || text.startsWith('max') ? undefined : counter(text)

/** `name value` lines. */
export const counters = (text: string | undefined): Map<string, bigint> => {
  const found = new Map<string, bigint>()
  for (const line of (text ?? '').split('\n')) {
    const [, name, value] = /^(\S+) (\d+)$/.exec(line) ?? []
    if (name !== undefined && value !== undefined) found.set(name, BigInt(value))
  }
  return found
}

/** Only what is not 0, as Go's `omitempty` writes it. */
export const nonZero = <K extends string>(values: Record<K, bigint>): Partial<Record<K, bigint>> =>
  Object.fromEntries(Object.entries<bigint>(values).filter(([, value]) => value !== 0n)) as Partial<
    Record<K, bigint>
  >

/** Named counters, in this order; one that the kernel does not tell is 0. */
export const pick = (from: ReadonlyMap<string, bigint>, names: readonly string[]): Record<string, bigint> =>
  Object.fromEntries(names.map(name => [name, from.get(name) ?? 0n]))

export const noCpu = (): CpuStats => ({
  cpu_usage: { total_usage: 0n, usage_in_kernelmode: 0n, usage_in_usermode: 0n },
  throttling_data: { periods: 0n, throttled_periods: 0n, throttled_time: 0n },
})

export const noBlkio = (): BlkioStats => ({
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
})

/** Ticks of /proc/stat and cpuacct.stat (USER_HZ, 100 on every architecture) in nanoseconds. */
export const tick = 10_000_000n

/** The host's time spent on all cores and the number of cores, of /proc/stat (proc_stat(5)). */
export const hostCpu = (text: string): { usage: bigint; cores: number } => {
  let usage = 0n
  let cores = 0
  for (const line of text.split('\n')) {
    if (!line.startsWith('cpu')) break
    if (/^cpu\d/.test(line)) cores++
    else for (const field of line.split(/\s+/).slice(1, 8)) usage += counter(field) * tick
  }
  return { usage, cores }
}
