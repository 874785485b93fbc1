import { cpus } from 'node:os'
import { badRequest } from '../../core/errors.ts'
import { signalNumber } from '../../linux/signals.ts'
import { checkCapabilities } from '../../runtime/spec/capabilities.ts'
import type { ContainerConfig, HostConfig, Resources, RestartPolicy } from '../../wire/container.ts'

/** Refuses what cannot be, in Docker's words; returns warnings for what is only doubtful. */

const minMemory = 6 * 1024 * 1024
/** Nanoseconds; shorter health intervals are refused, 0 means the default. */
const minHealthDuration = 1_000_000
const maxHostname = 64

export const checkRestartPolicy = (policy: RestartPolicy | undefined, autoRemove: boolean): void => {
  const name = policy?.Name ?? ''
  const count = policy?.MaximumRetryCount ?? 0
  if (!['', 'no', 'always', 'on-failure', 'unless-stopped'].includes(name))
    throw badRequest(
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    )
  if (name !== 'on-failure' && count !== 0)
    throw badRequest(
      `invalid restart policy: maximum retry count can only be used with 'on-failure'${count < 0 ? ' and cannot be negative' : ''}`,
    )
  if (count < 0) throw badRequest('invalid restart policy: maximum retry count cannot be negative')
  if (autoRemove && name !== '' && name !== 'no')
    throw badRequest("can't create 'AutoRemove' container with restart policy")
}

const checkHealth = (config: ContainerConfig): void => {
  const health = config.Healthcheck
  if (!health) return
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const value = health[field] ?? 0
    if (value !== 0 && value < minHealthDuration)
      throw badRequest(`${field} in Healthcheck cannot be less than 1ms`)
  }
  if ((health.Retries ?? 0) < 0) throw badRequest('Retries in Healthcheck cannot be negative')
}

export const checkConfig = (config: ContainerConfig): void => {
  if (config.WorkingDir && !config.WorkingDir.startsWith('/'))
    throw badRequest(
      `the working directory '${config.WorkingDir}' is invalid, it needs to be an absolute path`,
    )
  if (config.StopSignal) signalNumber(config.StopSignal)
  if ((config.Hostname ?? '').length > maxHostname)
    throw badRequest(`invalid hostname: "${config.Hostname}" is too long (maximum ${maxHostname} bytes)`)
  for (const entry of config.Env ?? [])
    if (entry === '' || entry.startsWith('='))
      throw badRequest(`invalid environment variable: ${entry || '""'}`)
  checkHealth(config)
}

const checkMemory = (resources: Resources): void => {
  const { Memory: memory = 0, MemorySwap: swap = 0, MemoryReservation: reservation = 0 } = resources
  if (memory !== 0 && memory < minMemory) throw badRequest('Minimum memory limit allowed is 6MB')
  if (memory > 0 && swap > 0 && swap < memory)
    throw badRequest('Minimum memoryswap limit should be larger than memory limit, see usage')
  if (memory === 0 && swap > 0)
    throw badRequest('You should always set the Memory limit when using Memoryswap limit, see usage')
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

const cpuSetForm = /^\d+(-\d+)?(,\d+(-\d+)?)*$/

const checkCpuSet = (resources: Resources): void => {
  const { CpusetCpus: wanted = '', CpusetMems: mems = '' } = resources
  if (mems !== '' && !cpuSetForm.test(mems)) throw badRequest(`Invalid value ${mems} for cpuset mems`)
  if (wanted === '') return
  if (!cpuSetForm.test(wanted)) throw badRequest(`Invalid value ${wanted} for cpuset cpus`)
  const count = cpus().length
  const highest = Math.max(...wanted.split(/[,-]/).map(Number))
  if (highest >= count)
    throw badRequest(
      `Requested CPUs are not available - requested ${wanted}, available: ${count === 1 ? '0' : `0-${count - 1}`}`,
    )
}

/** Takes away, with Docker's warnings, what control groups version 2 do not have and the runtime would refuse. */
export const dropUnsupported = (resources: Resources, version: 1 | 2): string[] => {
  if (version === 1) return []
  const warnings: string[] = []
  if ((resources.MemorySwappiness ?? -1) !== -1)
    warnings.push(
      'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
    )
  if (resources.OomKillDisable)
    warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.')
  delete resources.MemorySwappiness
  delete resources.OomKillDisable
  return warnings
}

/** Limits of create and update. */
export const checkResources = (resources: Resources): void => {
  checkMemory(resources)
  checkCpu(resources)
  checkCpuSet(resources)
  const weight = resources.BlkioWeight ?? 0
  if (weight !== 0 && (weight < 10 || weight > 1000))
    throw badRequest('Range of blkio weight is from 10 to 1000')
  const swappiness = resources.MemorySwappiness ?? -1
  if (swappiness < -1 || swappiness > 100)
    throw badRequest(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`)
}

const checkNamespaces = (hostConfig: HostConfig): void => {
  const ipc = hostConfig.IpcMode ?? ''
  if (!/^(|none|private|shareable|host|container:.+)$/.test(ipc)) throw badRequest(`invalid IPC mode: ${ipc}`)
  const pid = hostConfig.PidMode ?? ''
  if (!/^(|private|host|container:.+)$/.test(pid)) throw badRequest(`invalid PID mode: ${pid}`)
  const uts = hostConfig.UTSMode ?? ''
  if (!/^(|host)$/.test(uts)) throw badRequest(`invalid UTS mode: ${uts}`)
  const cgroupns = hostConfig.CgroupnsMode ?? ''
  if (!/^(|private|host)$/.test(cgroupns)) throw badRequest(`invalid cgroup namespace mode: ${cgroupns}`)
}

const checkNetworkMode = (config: ContainerConfig, hostConfig: HostConfig): string[] => {
  const mode = hostConfig.NetworkMode ?? ''
  const ports = Object.keys(hostConfig.PortBindings ?? {}).length > 0
  if (mode.startsWith('container:')) {
    if (config.Hostname) throw badRequest('conflicting options: hostname and the network mode')
    if (hostConfig.Dns?.length) throw badRequest('conflicting options: dns and the network mode')
    if (hostConfig.ExtraHosts?.length)
      throw badRequest('conflicting options: custom host-to-IP mapping and the network mode')
    if (ports || hostConfig.PublishAllPorts)
      throw badRequest('conflicting options: port publishing and the container type network mode')
    if (Object.keys(config.ExposedPorts ?? {}).length)
      throw badRequest('conflicting options: port exposing and the container type network mode')
  }
  if (hostConfig.UTSMode === 'host' && config.Hostname)
    throw badRequest('conflicting options: hostname and the UTS mode')
  return mode === 'host' && ports ? ['Published ports are discarded when using host network mode'] : []
}

/** The host part of a create. Returns warnings. */
export const checkHostConfig = (config: ContainerConfig, hostConfig: HostConfig): string[] => {
  checkResources(hostConfig)
  checkRestartPolicy(hostConfig.RestartPolicy, hostConfig.AutoRemove ?? false)
  checkCapabilities(hostConfig.CapAdd ?? [], hostConfig.CapDrop ?? [])
  checkNamespaces(hostConfig)
  if ((hostConfig.ShmSize ?? 0) < 0) throw badRequest('SHM size can not be less than 0')
  const oom = hostConfig.OomScoreAdj ?? 0
  if (oom < -1000 || oom > 1000)
    throw badRequest(`Invalid value ${oom}, range for oom score adj is [-1000, 1000]`)
  return checkNetworkMode(config, hostConfig)
}
