import { cpus } from 'node:os'
import { badRequest, messageOf } from '../../core/errors.ts'
import { type CgroupSupport, cgroupSupport } from '../../linux/cgroupSupport.ts'
import { containsCpuSet } from '../../linux/cpuSets.ts'
import type { Resources } from '../../wire/container.ts'
import { discard, type ResourceCheck } from './discard.ts'
import { checkBlockIo } from './validateBlockIo.ts'

/** Limits of create and update: refuses what cannot be, in Docker's words and order, and takes out what the host cannot do. */

const minMemory = 6 * 1024 * 1024

const notMounted = (what: string): string =>
  `Your kernel does not support ${what} or the cgroup is not mounted.`

const checkSwap = ({ resources, support, update, warnings }: ResourceCheck): void => {
  if ((resources.Memory ?? 0) > 0 && !support.memory) {
    warnings.push(`${notMounted('memory limit capabilities')} Limitation discarded.`)
    Object.assign(resources, { Memory: 0, MemorySwap: -1 })
  }
  const { Memory: memory = 0 } = resources
  if (memory > 0 && resources.MemorySwap !== -1 && !support.swap) {
    warnings.push(`${notMounted('swap limit capabilities')} Memory limited without swap.`)
    resources.MemorySwap = -1
  }
  const { MemorySwap: swap = 0 } = resources
  if (memory > 0 && swap > 0 && swap < memory)
    throw badRequest('Minimum memoryswap limit should be larger than memory limit, see usage')
  if (memory === 0 && swap > 0 && !update)
    throw badRequest('You should always set the Memory limit when using Memoryswap limit, see usage')
}

const checkSwappiness = (check: ResourceCheck): void => {
  const { resources, support } = check
  // -1 says nothing, as if it were not there.
  if (resources.MemorySwappiness === -1) delete resources.MemorySwappiness
  const { MemorySwappiness: swappiness } = resources
  if (swappiness === undefined) return
  if (!support.swappiness) {
    check.warnings.push(`${notMounted('memory swappiness capabilities')} Memory swappiness discarded.`)
    delete resources.MemorySwappiness
  } else if (swappiness < 0 || swappiness > 100)
    throw badRequest(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`)
}

const checkOomKill = (check: ResourceCheck): void => {
  const { resources, support } = check
  discard(check, support.oomKillDisable, {
    keys: ['OomKillDisable'],
    warning: 'Your kernel does not support OomKillDisable. OomKillDisable discarded.',
  })
  if (resources.OomKillDisable && !resources.Memory)
    check.warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    )
}

const checkMemory = (check: ResourceCheck): void => {
  const { resources, support } = check
  const given = resources.Memory ?? 0
  if (given !== 0 && given < minMemory) throw badRequest('Minimum memory limit allowed is 6MB')
  checkSwap(check)
  checkSwappiness(check)
  discard(check, support.reservation, {
    keys: ['MemoryReservation'],
    warning: `${notMounted('memory soft limit capabilities')} Limitation discarded.`,
  })
  const { Memory: memory = 0, MemoryReservation: reservation = 0 } = resources
  if (reservation > 0 && reservation < minMemory)
    throw badRequest('Minimum memory reservation allowed is 6MB')
  if (memory > 0 && reservation > 0 && memory < reservation)
    throw badRequest('Minimum memory limit can not be less than memory reservation limit, see usage')
  checkOomKill(check)
}

const checkPids = (check: ResourceCheck): void => {
  const { resources, support, warnings } = check
  if (support.pids || resources.PidsLimit === undefined) return
  if (resources.PidsLimit > 0) warnings.push(`${notMounted('PIDs limit capabilities')} PIDs limit discarded.`)
  delete resources.PidsLimit
}

const checkNanoCpus = ({ resources, support }: ResourceCheck): void => {
  const { NanoCpus: nano = 0, CpuPeriod: period = 0, CpuQuota: quota = 0 } = resources
  if (nano > 0 && period > 0)
    throw badRequest('Conflicting options: Nano CPUs and CPU Period cannot both be set')
  if (nano > 0 && quota > 0)
    throw badRequest('Conflicting options: Nano CPUs and CPU Quota cannot both be set')
  if (nano > 0 && !support.cpuQuota)
    throw badRequest(
      'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    )
  // Counting the CPUs reads /proc, which takes longer than all the rest: only where it matters.
  const count = nano === 0 ? 0 : cpus().length
  if (nano < 0 || nano > count * 1e9)
    throw badRequest(`range of CPUs is from 0.01 to ${count}.00, as there are only ${count} CPUs available`)
}

const checkCpu = (check: ResourceCheck): void => {
  const { resources, support } = check
  checkNanoCpus(check)
  discard(check, support.cpuShares, {
    keys: ['CpuShares'],
    warning: `${notMounted('CPU shares')} Shares discarded.`,
  })
  discard(check, support.cpuQuota, {
    keys: ['CpuPeriod', 'CpuQuota'],
    warning: 'Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.',
  })
  const { CpuPeriod: period = 0, CpuQuota: quota = 0 } = resources
  if (period !== 0 && (period < 1000 || period > 1_000_000))
    throw badRequest('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)')
  if (quota > 0 && quota < 1000) throw badRequest('CPU cfs quota can not be less than 1ms (i.e. 1000)')
  discard(check, false, {
    keys: ['CpuPercent'],
    warning: 'linux does not support CPU percent. Percent discarded.',
  })
}

const checkAvailable = (wanted: string, available: string, names: [option: string, many: string]): void => {
  const [option, many] = names
  let has: boolean
  try {
    has = containsCpuSet(available, wanted)
  } catch (error) {
    throw badRequest(`Invalid value ${wanted} for ${option}: ${messageOf(error)}`, error)
  }
  if (!has)
    throw badRequest(`Requested ${many} are not available - requested ${wanted}, available: ${available}`)
}

const checkCpuSets = (check: ResourceCheck): void => {
  const { resources, support } = check
  discard(check, support.cpuset, {
    keys: ['CpusetCpus', 'CpusetMems'],
    warning: `${notMounted('cpuset')} Cpuset discarded.`,
  })
  if (resources.CpusetCpus) checkAvailable(resources.CpusetCpus, support.cpus, ['cpuset cpus', 'CPUs'])
  if (resources.CpusetMems)
    checkAvailable(resources.CpusetMems, support.memoryNodes, ['cpuset mems', 'memory nodes'])
}

/** Before all others, as Docker has it. */
const checkScheduling = ({ resources, support }: ResourceCheck): void => {
  const { CpuRealtimePeriod: period = 0, CpuRealtimeRuntime: runtime = 0, CpuShares: shares = 0 } = resources
  if ((period !== 0 || runtime !== 0) && !support.cpuRealtime)
    throw badRequest('kernel does not support CPU real-time scheduler')
  if (period !== 0 && runtime > period)
    throw badRequest('cpu real-time runtime cannot be higher than cpu real-time period')
  if (shares < 0) throw badRequest(`invalid CPU shares (${shares}): value must be a positive integer`)
}

/** `resources` loses what was discarded. Errors: `bad-request`. Returns warnings. */
export const checkResources = (
  resources: Resources,
  options: { update: boolean; support?: CgroupSupport },
): string[] => {
  const check = {
    resources,
    update: options.update,
    support: options.support ?? cgroupSupport(),
    warnings: [],
  }
  checkScheduling(check)
  checkMemory(check)
  checkPids(check)
  checkCpu(check)
  checkCpuSets(check)
  checkBlockIo(check)
  return check.warnings
}
