import { badRequest } from '../../core/errors.ts'
import type { SpecDeviceRule, SpecProcess, SpecResources } from '../../oci/runtimeSpec.ts'
import type { HostConfig, Resources } from '../../wire/container.ts'

/** Limits of a container as the OCI runtime takes them. */

const cpuPeriod = 100_000

const memory = (resources: Resources): SpecResources['memory'] => {
  const { Memory: limit = 0, MemorySwap: swap = 0, MemoryReservation: reservation = 0 } = resources
  const result: NonNullable<SpecResources['memory']> = {}
  if (limit > 0) result.limit = limit
  if (reservation > 0) result.reservation = reservation
  // Docker's rule: with a limit and no word of swap, as much swap again. Less than zero is what a new group has.
  if (swap > 0) result.swap = swap
  else if (swap === 0 && limit > 0) result.swap = limit * 2
  const swappiness = resources.MemorySwappiness ?? -1
  if (swappiness >= 0) result.swappiness = swappiness
  if (resources.OomKillDisable) result.disableOOMKiller = true
  return Object.keys(result).length ? result : undefined
}

const cpu = (resources: Resources): SpecResources['cpu'] => {
  const result: NonNullable<SpecResources['cpu']> = {}
  if (resources.CpuShares) result.shares = resources.CpuShares
  if (resources.NanoCpus) {
    result.period = cpuPeriod
    result.quota = Math.round((resources.NanoCpus * cpuPeriod) / 1e9)
  }
  if (resources.CpuPeriod) result.period = resources.CpuPeriod
  if (resources.CpuQuota) result.quota = resources.CpuQuota
  if (resources.CpusetCpus) result.cpus = resources.CpusetCpus
  if (resources.CpusetMems) result.mems = resources.CpusetMems
  if (resources.CpuRealtimePeriod) result.realtimePeriod = resources.CpuRealtimePeriod
  if (resources.CpuRealtimeRuntime) result.realtimeRuntime = resources.CpuRealtimeRuntime
  return Object.keys(result).length ? result : undefined
}

const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T

/** Everything but devices and what is limited by device; used by create and by update. */
export const specLimits = (resources: Resources): SpecResources => {
  const limits: { [K in keyof SpecResources]: SpecResources[K] | undefined } = {
    memory: memory(resources),
    cpu: cpu(resources),
    pids:
      resources.PidsLimit === undefined
        ? undefined
        : { limit: resources.PidsLimit <= 0 ? -1 : resources.PidsLimit },
  }
  return withoutUndefined(limits) as SpecResources
}

/** `c 42:* rmw` of `--device-cgroup-rule`. Errors: `bad-request`. */
export const parseDeviceRule = (text: string): SpecDeviceRule => {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text)
  if (!match) throw badRequest(`invalid device cgroup rule format: '${text}'`)
  const [, type, major, minor, access] = match
  return {
    allow: true,
    ...(type ? { type } : {}),
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    ...(access ? { access } : {}),
  }
}

/** RLIM_INFINITY is the largest unsigned number. */
const limitOf = (value: number): number | bigint => (value === -1 ? 2n ** 64n - 1n : value)

/** In the order of the kernel's numbers. */
const rlimitNames =
  'cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime'.split(
    ' ',
  )

/** The kernel's number of a limit of a specification. */
export const rlimitNumber = (type: string): number =>
  rlimitNames.indexOf(type.replace(/^RLIMIT_/, '').toLowerCase())

/** `--ulimit` values. Errors: `bad-request`. */
export const specRlimits = (hostConfig: HostConfig): NonNullable<SpecProcess['rlimits']> =>
  (hostConfig.Ulimits ?? []).map(({ Name: name = '', Soft: soft = 0, Hard: hard = 0 }) => {
    const lower = name.toLowerCase().replace(/^rlimit_/, '')
    if (lower === 'as' || !rlimitNames.includes(lower)) throw badRequest(`invalid ulimit type: ${name}`)
    if (hard !== -1 && (soft > hard || soft === -1))
      throw badRequest(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`)
    return { type: `RLIMIT_${lower.toUpperCase()}`, soft: limitOf(soft), hard: limitOf(hard) }
  })
