import path from 'node:path'
import { badRequest } from '../../core/errors.ts'
import { signalNumber } from '../../linux/signals.ts'
import { checkCapabilities } from '../../runtime/spec/capabilities.ts'
import type { ContainerConfig, HostConfig, RestartPolicy } from '../../wire/container.ts'
import { checkBuilt } from './checkBuilt.ts'
import { parseExtraHost } from './extraHosts.ts'
import { checkFirstProbe } from './firstProbe.ts'
import { hostCapabilities } from './privileges.ts'
import { checkNamespaces, checkNetworkMode } from './validateNamespaces.ts'
import { checkResources } from './validateResources.ts'

/** Refuses what cannot be, in Docker's words; returns warnings for what is only doubtful. */

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

/** Puts the working directory in its shortest form. Errors: `bad-request`. */
export const checkConfig = (config: ContainerConfig): void => {
  if (config.WorkingDir && !config.WorkingDir.startsWith('/'))
    throw badRequest(
      `the working directory '${config.WorkingDir}' is invalid, it needs to be an absolute path`,
    )
  if (config.WorkingDir) config.WorkingDir = path.posix.resolve(config.WorkingDir)
  if (config.StopSignal) signalNumber(config.StopSignal)
  if ((config.Hostname ?? '').length > maxHostname)
    throw badRequest(`hostname ${JSON.stringify(config.Hostname)} is too long (maximum ${maxHostname} bytes)`)
  for (const entry of config.Env ?? [])
    if (entry === '' || entry.startsWith('='))
      throw badRequest(`invalid environment variable: ${entry || '""'}`)
  checkHealth(config)
}

/** The host part of a create. Returns warnings. */
export const checkHostConfig = (config: ContainerConfig, hostConfig: HostConfig): string[] => {
  checkNetworkMode(config, hostConfig)
  checkBuilt(hostConfig)
  const warnings = checkResources(hostConfig, { update: false })
  checkRestartPolicy(hostConfig.RestartPolicy, hostConfig.AutoRemove ?? false)
  for (const entry of hostConfig.ExtraHosts ?? []) parseExtraHost(entry)
  if (Object.keys(hostConfig.Annotations ?? {}).includes(''))
    throw badRequest('invalid Annotations: the empty string is not permitted as an annotation key')
  checkCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    host: hostCapabilities(),
  })
  checkNamespaces(hostConfig)
  checkFirstProbe({ config, hostConfig })
  if ((hostConfig.ShmSize ?? 0) < 0) throw badRequest('SHM size can not be less than 0')
  const oom = hostConfig.OomScoreAdj ?? 0
  if (oom < -1000 || oom > 1000)
    throw badRequest(`Invalid value ${oom}, range for oom score adj is [-1000, 1000]`)
  if (hostConfig.NetworkMode === 'host' && Object.keys(hostConfig.PortBindings ?? {}).length > 0)
    warnings.push('Published ports are discarded when using host network mode')
  return warnings
}
