import { release } from 'node:os'
import { badRequest } from '../../core/errors.ts'
import { architectureOf } from '../../oci/platform.ts'
import type {
  RuntimeSpec,
  SpecDevice,
  SpecDeviceRule,
  SpecNamespace,
  SpecSeccomp,
} from '../../oci/runtimeSpec.ts'
import { containerCapabilities } from '../../runtime/spec/capabilities.ts'
import { allowAllDevices, deviceRules, maskedPaths, readonlyPaths } from '../../runtime/spec/defaults.ts'
import { defaultProfile, parseSeccompProfile, resolveSeccomp } from '../../runtime/spec/seccomp.ts'
import { processEnv } from './processEnv.ts'
import { type ContainerFiles, specMounts } from './specMounts.ts'
import { parseDeviceRule, specLimits, specRlimits } from './specResources.ts'
import type { ContainerRecord } from './types.ts'
import type { ProcessUser } from './users.ts'

/** All that decides a container's config.json. Building it touches nothing. */
export interface SpecInput {
  record: ContainerRecord
  rootfs: string
  cgroupsPath: string
  user: ProcessUser
  files: ContainerFiles
  /** Paths of namespaces to join; a kind that is absent is decided by the modes alone. */
  join: Partial<Record<SpecNamespace['type'], string>>
  /** Capabilities that this daemon can give. */
  hostCapabilities: readonly string[]
  devices: SpecDevice[]
  /** Access of each device, like `rwm`, in the order of `devices`. */
  deviceAccess: string[]
  defaultCgroupnsMode: 'private' | 'host'
  cgroupVersion: 1 | 2
  /** The daemon's own `oom_score_adj`. */
  daemonOomScore: number
  /** For the runtime, beside the container's own. */
  annotations: Record<string, string>
}

const securityOption = (record: ContainerRecord, name: string): string | undefined => {
  for (const option of record.hostConfig.SecurityOpt ?? []) {
    const match = /^([a-z-]+)[=:](.*)$/s.exec(option)
    if (match?.[1] === name) return match[2]
    if (option === name) return 'true'
  }
  return undefined
}

const known = ['no-new-privileges', 'seccomp', 'apparmor', 'label', 'systempaths']

/** Refuses security options that Docker does not know, and those that this version does not have. Errors: `bad-request`. */
export const checkSecurityOptions = (options: readonly string[]): void => {
  for (const option of options) {
    const name = /^[a-z-]+/.exec(option)?.[0] ?? ''
    if (!known.includes(name)) throw badRequest(`invalid --security-opt 2: "${option}"`)
    const value = option.slice(name.length + 1)
    if (name === 'seccomp' && value !== 'unconfined' && value !== 'builtin') parseSeccompProfile(value)
  }
}

const seccomp = (input: SpecInput, capabilities: string[]): SpecSeccomp | undefined => {
  const option = securityOption(input.record, 'seccomp')
  if (option === 'unconfined' || (input.record.hostConfig.Privileged && option === undefined))
    return undefined
  const profile = option === undefined || option === 'builtin' ? defaultProfile : parseSeccompProfile(option)
  return resolveSeccomp(profile, {
    architecture: architectureOf(process.arch),
    kernel: release(),
    capabilities,
  })
}

const isHost = (mode: string | undefined): boolean => mode === 'host'

const namespaces = (input: SpecInput): SpecNamespace[] => {
  const { hostConfig } = input.record
  const cgroupns =
    hostConfig.CgroupnsMode ||
    (hostConfig.Privileged && input.cgroupVersion === 1 ? 'host' : input.defaultCgroupnsMode)
  const shared: Record<string, boolean> = {
    network: isHost(hostConfig.NetworkMode),
    pid: isHost(hostConfig.PidMode),
    ipc: isHost(hostConfig.IpcMode),
    uts: isHost(hostConfig.UTSMode),
    cgroup: isHost(cgroupns),
    mount: false,
  }
  return (['mount', 'network', 'uts', 'pid', 'ipc', 'cgroup'] as const)
    .filter(type => !shared[type])
    .map(type => {
      const path = input.join[type]
      return path === undefined ? { type } : { type, path }
    })
}

const sysctls = (record: ContainerRecord): Record<string, string> => {
  const ownNetwork =
    !isHost(record.hostConfig.NetworkMode) && !record.hostConfig.NetworkMode?.startsWith('container:')
  const defaults = ownNetwork
    ? { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' }
    : {}
  return { ...defaults, ...record.hostConfig.Sysctls }
}

const deviceAccessRules = (input: SpecInput): SpecDeviceRule[] => {
  if (input.record.hostConfig.Privileged) return [...allowAllDevices]
  const own = input.devices.map((device, index) => ({
    allow: true,
    type: device.type,
    major: device.major,
    minor: device.minor,
    access: input.deviceAccess[index] ?? 'rwm',
  }))
  return [...deviceRules, ...own, ...(input.record.hostConfig.DeviceCgroupRules ?? []).map(parseDeviceRule)]
}

const hiddenPaths = (record: ContainerRecord): { masked: string[]; readonly: string[] } => {
  const { hostConfig } = record
  const open = hostConfig.Privileged || securityOption(record, 'systempaths') === 'unconfined'
  return {
    masked: hostConfig.MaskedPaths ?? (open ? [] : [...maskedPaths]),
    readonly: hostConfig.ReadonlyPaths ?? (open ? [] : [...readonlyPaths]),
  }
}

const args = (record: ContainerRecord, init: boolean): string[] => {
  const command = [...(record.config.Entrypoint ?? []), ...(record.config.Cmd ?? [])]
  return init ? ['/sbin/docker-init', '--', ...command] : command
}

/** What protects the daemon is not for its containers. A score above zero stays: lowering it needs a capability. */
const oomScore = ({ record, daemonOomScore }: SpecInput): { oomScoreAdj?: number } => {
  const wanted = record.hostConfig.OomScoreAdj ?? 0
  return wanted !== 0 || daemonOomScore < 0 ? { oomScoreAdj: wanted } : {}
}

const specProcess = (input: SpecInput, capabilities: string[]): RuntimeSpec['process'] => {
  const { record, user } = input
  const isRoot = user.uid === 0
  const effective = isRoot ? capabilities : []
  const [height = 0, width = 0] = record.hostConfig.ConsoleSize ?? []
  return {
    terminal: record.config.Tty ?? false,
    ...(record.config.Tty && height > 0 && width > 0 ? { consoleSize: { height, width } } : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: args(record, input.files.init !== undefined),
    env: processEnv({ config: record.config, terminal: record.config.Tty ?? false, home: user.home }),
    cwd: record.config.WorkingDir || '/',
    capabilities: { bounding: capabilities, effective, permitted: effective, inheritable: [], ambient: [] },
    rlimits: specRlimits(record.hostConfig),
    noNewPrivileges: ['true', ''].includes(securityOption(record, 'no-new-privileges') ?? 'false'),
    ...oomScore(input),
  }
}

/** The OCI runtime specification of a container. */
export const buildSpec = (input: SpecInput): RuntimeSpec => {
  const { record } = input
  const { hostConfig } = record
  const capabilities = containerCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged: hostConfig.Privileged ?? false,
    host: input.hostCapabilities,
  })
  const filter = seccomp(input, capabilities)
  const hidden = hiddenPaths(record)
  const ownUts = !isHost(hostConfig.UTSMode)
  return {
    ociVersion: '1.0.2',
    process: specProcess(input, capabilities),
    root: { path: input.rootfs, readonly: hostConfig.ReadonlyRootfs ?? false },
    ...(ownUts && record.config.Hostname ? { hostname: record.config.Hostname } : {}),
    mounts: specMounts(record, input.files),
    annotations: { ...input.annotations, ...hostConfig.Annotations },
    linux: {
      cgroupsPath: input.cgroupsPath,
      namespaces: namespaces(input),
      resources: { ...specLimits(hostConfig), devices: deviceAccessRules(input) },
      devices: input.devices,
      ...(filter ? { seccomp: filter } : {}),
      maskedPaths: hidden.masked,
      readonlyPaths: hidden.readonly,
      sysctl: {
        ...sysctls(record),
        ...(ownUts && record.config.Domainname ? { 'kernel.domainname': record.config.Domainname } : {}),
      },
    },
  }
}
