import { badRequest, internal } from '../../core/errors.ts'
import { cgroupVersion } from '../../linux/cgroups.ts'
import { maskedPaths, readonlyPaths } from '../../runtime/spec/defaults.ts'
import type { HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { cacheOptionsIn } from './logDrivers.ts'
import { sameLabelOptions } from './selinuxLabels.ts'

/** A request's `HostConfig` with what Docker fills in, so that inspect shows the values in effect. */

const prefix = 'container:'

/** Another container by its id, so that a rename of it changes nothing; one that is not there stays as it was named. */
const byId = (engine: Engine, mode: string): string => {
  if (!mode.startsWith(prefix)) return mode
  const other = engine.containers.find(mode.slice(prefix.length))
  return other ? `${prefix}${other.id}` : mode
}

const modes = (engine: Engine, given: HostConfig): Partial<HostConfig> => {
  const { settings } = engine
  const network = !given.NetworkMode || given.NetworkMode === 'default' ? 'bridge' : given.NetworkMode
  const hostGroups = (given.Privileged ?? false) && cgroupVersion === 1
  return {
    NetworkMode: byId(engine, network),
    IpcMode: byId(engine, given.IpcMode || settings.defaultIpcMode),
    PidMode: byId(engine, given.PidMode ?? ''),
    CgroupnsMode: given.CgroupnsMode || (hostGroups ? 'host' : settings.defaultCgroupnsMode),
  }
}

/** Labels follow the modes; this is also where Docker misses the other container of a mode. Errors: `bad-request`. */
const securityOptions = (engine: Engine, given: HostConfig): string[] | undefined => {
  const options = given.SecurityOpt ?? []
  if (options.some(option => option.split('=')[0] === 'label')) return given.SecurityOpt
  const modes = [given.IpcMode ?? '', given.PidMode ?? '']
  if (given.Privileged || modes.includes('host')) return [...options, 'label=disable']
  const labels = modes.flatMap(mode => {
    if (!mode.startsWith(prefix)) return []
    const name = mode.slice(prefix.length)
    const other = engine.containers.find(name)
    if (!other) throw badRequest(`No such container: ${name}`)
    return other.record.selinux?.process ? [other.record.selinux.process] : []
  })
  const [label, second = label] = labels
  if (label === undefined) return given.SecurityOpt
  if (label !== second) throw internal("--ipc and --pid containers SELinux labels aren't the same")
  return [...options, ...sameLabelOptions(label).map(option => `label=${option}`)]
}

const limits = (given: HostConfig): Partial<HostConfig> => {
  const filled: Partial<HostConfig> = { OomKillDisable: given.OomKillDisable ?? false }
  if ((given.Memory ?? 0) > 0 && !given.MemorySwap) filled.MemorySwap = (given.Memory ?? 0) * 2
  return filled
}

/** `systempaths=unconfined` is the client's word: it sends empty lists. */
const hiddenPaths = (given: HostConfig): Partial<HostConfig> =>
  given.Privileged
    ? {}
    : {
        MaskedPaths: given.MaskedPaths ?? [...maskedPaths],
        ReadonlyPaths: given.ReadonlyPaths ?? [...readonlyPaths],
      }

const ulimits = (engine: Engine, { Ulimits: given = [] }: HostConfig): HostConfig['Ulimits'] & object => [
  ...given,
  ...engine.settings.defaultUlimits.filter(({ Name }) => !given.some(limit => limit.Name === Name)),
]

const logConfig = (engine: Engine, given: HostConfig): { Type: string; Config: Record<string, string> } => {
  const { defaultLog } = engine.settings
  const type = given.LogConfig?.Type || defaultLog.type
  return {
    Type: type,
    Config: {
      ...(type === defaultLog.type ? defaultLog.options : cacheOptionsIn(defaultLog.options)),
      ...given.LogConfig?.Config,
    },
  }
}

export const effectiveHostConfig = (engine: Engine, given: HostConfig): HostConfig => {
  const { PidsLimit: pids, MemorySwappiness: swappiness, ...rest } = given
  const security = securityOptions(engine, given)
  return {
    ...rest,
    ...modes(engine, given),
    ...limits(given),
    ...hiddenPaths(given),
    ...(pids !== undefined && pids > 0 ? { PidsLimit: pids } : {}),
    ...(swappiness !== undefined && swappiness !== -1 ? { MemorySwappiness: swappiness } : {}),
    ...(security ? { SecurityOpt: security } : {}),
    Ulimits: ulimits(engine, given),
    ShmSize: given.ShmSize || engine.settings.defaultShmSize,
    Runtime: given.Runtime || engine.settings.defaultRuntime,
    RestartPolicy: {
      MaximumRetryCount: 0,
      ...given.RestartPolicy,
      Name: given.RestartPolicy?.Name || 'no',
    },
    LogConfig: logConfig(engine, given),
  }
}
