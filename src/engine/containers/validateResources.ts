import { existsSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { badRequest } from '../../core/errors.ts'
import { cgroupVersion, controllers } from '../../linux/cgroups.ts'
import type { Resources } from '../../wire/container.ts'

/** Limits of create and update: refuses what cannot be, in Docker's words, and takes out what the host cannot do. */

const minMemory = 6 * 1024 * 1024

const checkMemory = (resources: Resources, update: boolean): void => {
  const { Memory: memory = 0, MemorySwap: swap = 0, MemoryReservation: reservation = 0 } = resources
  if (memory !== 0 && memory < minMemory) throw badRequest('Minimum memory limit allowed is 6MB')
  if (memory > 0 && swap > 0 && swap < memory)
    throw badRequest('Minimum memoryswap limit should be larger than memory limit, see usage')
  if (memory === 0 && swap > 0 && !update)
    throw badRequest('You should always set the Memory limit when using Memoryswap limit, see usage')
  const swappiness = resources.MemorySwappiness ?? -1
  if (swappiness < -1 || swappiness > 100)
    throw badRequest(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`)
  if (reservation > 0 && reservation < minMemory)
    throw badRequest('Minimum memory reservation allowed is 6MB')
  if (memory > 0 && reservation > 0 && memory < reservation)
    throw badRequest('Minimum memory limit can not be less than memory reservation limit, see usage')
}

const checkCpu = (resources: Resources): void => {
  const { NanoCpus: nano = 0, CpuPeriod: period = 0, CpuQuota: quota = 0, CpuShares: shares = 0 } = resources
  if (shares < 0) throw badRequest(`invalid CPU shares (${shares}): value must be a positive integer`)
  if (nano > 0 && period > 0)
    throw badRequest('Conflicting options: Nano CPUs and CPU Period cannot both be set')
  if (nano > 0 && quota > 0)
    throw badRequest('Conflicting options: Nano CPUs and CPU Quota cannot both be set')
  // Counting the CPUs reads /proc, which takes longer than all the rest: only where it matters.
  const count = nano === 0 ? 0 : cpus().length
  if (nano < 0 || nano > count * 1e9)
    throw badRequest(`range of CPUs is from 0.01 to ${count}.00, as there are only ${count} CPUs available`)
  if (period !== 0 && (period < 1000 || period > 1_000_000))
    throw badRequest('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)')
  if (quota > 0 && quota < 1000) throw badRequest('CPU cfs quota can not be less than 1ms (i.e. 1000)')
}

const setForm = /^\d+(-\d+)?(,\d+(-\d+)?)*$/

/** `0-3,7` holds each of `wanted`. */
const holds = (available: string, wanted: string): boolean => {
  const ranges = (text: string): [number, number][] =>
    text.split(',').map(part => {
      const [first = '0', last = first] = part.split('-')
      return [Number(first), Number(last)]
    })
  const have = ranges(available)
  return ranges(wanted).every(([first, last]) => {
    for (let at = first; at <= last; at++)
      if (!have.some(([from, to]) => at >= from && at <= to)) return false
    return true
  })
}

const onlineNodes = (): string => {
  try {
    return readFileSync('/sys/devices/system/node/online', 'utf8').trim()
  } catch {
    return '0'
  }
}

const checkCpuSets = ({ CpusetCpus: wanted = '', CpusetMems: mems = '' }: Resources): void => {
  if (wanted !== '') {
    if (!setForm.test(wanted)) throw badRequest(`Invalid value ${wanted} for cpuset cpus`)
    const count = cpus().length
    const available = count === 1 ? '0' : `0-${count - 1}`
    if (!holds(available, wanted))
      throw badRequest(`Requested CPUs are not available - requested ${wanted}, available: ${available}`)
  }
  if (mems === '') return
  if (!setForm.test(mems)) throw badRequest(`Invalid value ${mems} for cpuset mems`)
  const available = onlineNodes()
  if (!holds(available, mems))
    throw badRequest(`Requested memory nodes are not available - requested ${mems}, available: ${available}`)
}

/** What was asked for and the host's control groups cannot do: a predicate, the fields, Docker's warning. */
const discards: { absent: (version: 1 | 2) => boolean; keys: (keyof Resources)[]; warning: string }[] = [
  {
    absent: version => version === 2,
    keys: ['MemorySwappiness'],
    warning:
      'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
  },
  {
    absent: version => version === 2,
    keys: ['OomKillDisable'],
    warning: 'Your kernel does not support OomKillDisable. OomKillDisable discarded.',
  },
  {
    absent: () => !controllers.includes('pids'),
    keys: ['PidsLimit'],
    warning:
      'Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.',
  },
  {
    absent: () => !controllers.includes('cpuset'),
    keys: ['CpusetCpus', 'CpusetMems'],
    warning: 'Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.',
  },
  {
    absent: version => version === 1 && !existsSync('/sys/fs/cgroup/blkio/blkio.weight'),
    keys: ['BlkioWeight'],
    warning: 'Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.',
  },
  {
    absent: version => version === 1 && !existsSync('/sys/fs/cgroup/blkio/blkio.weight_device'),
    keys: ['BlkioWeightDevice'],
    warning:
      'Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.',
  },
  {
    absent: () => true,
    keys: ['CpuPercent'],
    warning: 'linux does not support CPU percent. Percent discarded.',
  },
]

const asked = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : !!value && value !== -1)

/** Takes out of `resources` what a host with this version of control groups cannot do; returns Docker's warnings of it. */
export const dropUnsupported = (resources: Resources, version: 1 | 2): string[] =>
  discards.flatMap(({ absent, keys, warning }) => {
    const given = keys.filter(key => asked(resources[key]))
    if (given.length === 0 || !absent(version)) return []
    for (const key of keys) delete resources[key]
    return [warning]
  })

/** `resources` loses what was discarded. Errors: `bad-request`. Returns warnings. */
export const checkResources = (resources: Resources, { update }: { update: boolean }): string[] => {
  checkMemory(resources, update)
  checkCpu(resources)
  checkCpuSets(resources)
  const weight = resources.BlkioWeight ?? 0
  if (weight !== 0 && (weight < 10 || weight > 1000))
    throw badRequest('Range of blkio weight is from 10 to 1000')
  if (resources.CpuRealtimePeriod || resources.CpuRealtimeRuntime) checkRealtime(resources)
  const warnings = dropUnsupported(resources, cgroupVersion)
  if (resources.OomKillDisable && !resources.Memory)
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    )
  return warnings
}

const checkRealtime = ({
  CpuRealtimePeriod: period = 0,
  CpuRealtimeRuntime: runtime = 0,
}: Resources): void => {
  if (!existsSync('/sys/fs/cgroup/cpu/cpu.rt_period_us'))
    throw badRequest('kernel does not support CPU real-time scheduler')
  if (period !== 0 && runtime > period)
    throw badRequest('cpu real-time runtime cannot be higher than cpu real-time period')
}
