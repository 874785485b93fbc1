import { release } from 'node:os'
import { endOf, type IdMaps, type IdRange } from '../../linux/idMaps.ts'
import { architectureOf } from '../../oci/platform.ts'
import type {
  RuntimeSpec,
  SpecDeviceRule,
  SpecIdMapping,
  SpecMount,
  SpecNamespace,
  SpecResources,
  SpecSeccomp,
} from '../../oci/runtimeSpec.ts'
import { containerCapabilities } from '../../runtime/spec/capabilities.ts'
import { allowAllDevices, deviceRules, maskedPaths, readonlyPaths } from '../../runtime/spec/defaults.ts'
import {
  defaultProfile,
  parseSeccompProfile,
  resolveSeccomp,
  type SeccompProfile,
} from '../../runtime/spec/seccomp.ts'
import type { SecurityDefaults } from '../settings.ts'
import type { ContainerDevice } from './privileges.ts'
import { processEnv } from './processEnv.ts'
import { parseSecurityOptions, type SecurityOptions } from './securityOptions.ts'
import { type ContainerFiles, rootPropagation, specMounts } from './specMounts.ts'
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
  /** Sources of read-only binds that are no directories. */
  plainFiles: ReadonlySet<string>
  /** Environment that links give. */
  linkVariables: readonly string[]
  /** Of its user namespace, which `join` names; absent where it has none. */
  idMaps?: IdMaps
  /** Paths of namespaces to join; a kind that is absent is decided by the modes alone. */
  join: Partial<Record<SpecNamespace['type'], string>>
  /** Capabilities that this daemon can give. */
  hostCapabilities: readonly string[]
  devices: readonly ContainerDevice[]
  blockIO?: SpecResources['blockIO']
  /** The profile of AppArmor, on hosts that have it. */
  appArmor?: string
  /** For a container that says nothing of it. */
  security: SecurityDefaults
  /** The daemon's own `oom_score_adj`. */
  daemonOomScore: number
  /** For the runtime, beside the container's own. */
  annotations: Record<string, string>
}

const securityOf = ({ record, security }: SpecInput): SecurityOptions =>
  parseSecurityOptions(record.hostConfig.SecurityOpt ?? [], security)

const profileOf = (input: SpecInput): SeccompProfile | undefined => {
  const option = securityOf(input).seccomp
  if (option === undefined)
    return input.record.hostConfig.Privileged ? undefined : input.security.seccomp.profile
  if (option === 'unconfined') return undefined
  return option === 'builtin' ? defaultProfile : parseSeccompProfile(option)
}

const seccomp = (input: SpecInput, capabilities: string[]): SpecSeccomp | undefined => {
  const profile = profileOf(input)
  if (!profile) return undefined
  return resolveSeccomp(profile, {
    architecture: architectureOf(process.arch),
    kernel: release(),
    capabilities,
  })
}

const isHost = (mode: string | undefined): boolean => mode === 'host'

const namespaces = (input: SpecInput): SpecNamespace[] => {
  const { hostConfig } = input.record
  const shared: Record<string, boolean> = {
    network: isHost(hostConfig.NetworkMode),
    pid: isHost(hostConfig.PidMode),
    ipc: isHost(hostConfig.IpcMode),
    uts: isHost(hostConfig.UTSMode),
    cgroup: isHost(hostConfig.CgroupnsMode),
    mount: false,
    user: !input.idMaps,
  }
  return (['user', 'mount', 'network', 'uts', 'pid', 'ipc', 'cgroup'] as const)
    .filter(type => !shared[type])
    .map(type => {
      const path = input.join[type]
      return path === undefined ? { type } : { type, path }
    })
}

const specMapping = (ranges: readonly IdRange[]): SpecIdMapping[] =>
  ranges.map(({ inside, outside, count }) => ({ containerID: inside, hostID: outside, size: count }))

const mappings = ({
  uids,
  gids,
}: IdMaps): { uidMappings: SpecIdMapping[]; gidMappings: SpecIdMapping[] } => ({
  uidMappings: specMapping(uids),
  gidMappings: specMapping(gids),
})

/** The kernel takes groups only that there are. */
const pingGroups = (idMaps: IdMaps | undefined): string => `0 ${idMaps ? endOf(idMaps.gids) - 1 : 2147483647}`

const sysctls = (record: ContainerRecord, idMaps: IdMaps | undefined): Record<string, string> => {
  const ownNetwork =
    !isHost(record.hostConfig.NetworkMode) && !record.hostConfig.NetworkMode?.startsWith('container:')
  const defaults = ownNetwork
    ? { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': pingGroups(idMaps) }
    : {}
  return { ...defaults, ...record.hostConfig.Sysctls }
}

const deviceAccessRules = (input: SpecInput): SpecDeviceRule[] => {
  if (input.record.hostConfig.Privileged) return [...allowAllDevices]
  const own = input.devices.map(({ device: { type, major, minor }, access }) => ({
    ...{ allow: true, type, major, minor, access },
  }))
  return [...deviceRules, ...own, ...(input.record.hostConfig.DeviceCgroupRules ?? []).map(parseDeviceRule)]
}

/** In a user namespace nodes cannot be made: runtimes bind the host's, and runc takes the path inside for that outside. */
const isRenamed = ({ idMaps }: SpecInput, { device, source }: ContainerDevice): boolean =>
  idMaps !== undefined && device.path !== source

const renamedDevices = (input: SpecInput): SpecMount[] =>
  input.devices
    .filter(one => isRenamed(input, one))
    .map(({ device, source }) => ({
      ...{ destination: device.path, type: 'bind', source, options: ['bind', 'private'] },
    }))

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
    env: processEnv({
      ...{ config: record.config, terminal: record.config.Tty ?? false },
      ...{ home: user.home, links: input.linkVariables },
    }),
    cwd: record.config.WorkingDir || '/',
    capabilities: { bounding: capabilities, effective, permitted: effective, inheritable: [], ambient: [] },
    rlimits: specRlimits(record.hostConfig),
    noNewPrivileges: securityOf(input).noNewPrivileges,
    ...(input.appArmor ? { apparmorProfile: input.appArmor } : {}),
    ...(record.selinux?.process && !record.hostConfig.Privileged
      ? { selinuxLabel: record.selinux.process }
      : {}),
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
  const propagation = rootPropagation(record)
  const filter = seccomp(input, capabilities)
  const ownUts = !isHost(hostConfig.UTSMode)
  return {
    ociVersion: '1.0.2',
    process: specProcess(input, capabilities),
    root: { path: input.rootfs, readonly: hostConfig.ReadonlyRootfs ?? false },
    ...(ownUts && record.config.Hostname ? { hostname: record.config.Hostname } : {}),
    mounts: [
      ...specMounts(record, {
        files: input.files,
        plainFiles: input.plainFiles,
        cgroupWritable: securityOf(input).writableCgroups ?? hostConfig.Privileged ?? false,
      }),
      ...renamedDevices(input),
    ],
    annotations: { ...input.annotations, ...hostConfig.Annotations },
    linux: {
      cgroupsPath: input.cgroupsPath,
      namespaces: namespaces(input),
      ...(input.idMaps ? mappings(input.idMaps) : {}),
      resources: {
        ...specLimits(hostConfig),
        ...(input.blockIO ? { blockIO: input.blockIO } : {}),
        devices: deviceAccessRules(input),
      },
      devices: input.devices.filter(one => !isRenamed(input, one)).map(({ device }) => device),
      ...(propagation ? { rootfsPropagation: propagation } : {}),
      ...(filter ? { seccomp: filter } : {}),
      ...(record.selinux ? { mountLabel: record.selinux.mount } : {}),
      maskedPaths: hostConfig.MaskedPaths ?? (hostConfig.Privileged ? [] : [...maskedPaths]),
      readonlyPaths: hostConfig.ReadonlyPaths ?? (hostConfig.Privileged ? [] : [...readonlyPaths]),
      sysctl: {
        ...sysctls(record, input.idMaps),
        ...(ownUts && record.config.Domainname ? { 'kernel.domainname': record.config.Domainname } : {}),
      },
    },
  }
}
