import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { cpus, hostname, release, totalmem } from 'node:os'
import { nowText } from '../../core/clock.ts'
import { cgroupVersion, controllers } from '../../linux/cgroups.ts'
import { architectureOf } from '../../oci/platform.ts'
import type { RegistrySettings } from '../../registry-client/types.ts'
import type { ApiVersion } from '../../wire/version.ts'
import { logDrivers } from '../containers/logDrivers.ts'
import type { Engine } from '../engine.ts'
import { currentOverlaps } from '../networks/overlaps.ts'
import type { SecurityDefaults } from '../settings.ts'
import { runtimeVersions } from './runtimeVersions.ts'

/** `GET /info` and `GET /version`: what this host and this daemon are. */

const readOr = (file: string, otherwise: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return otherwise
  }
}

const osRelease = (): Record<string, string> =>
  Object.fromEntries(
    readOr('/etc/os-release', '')
      .split('\n')
      .flatMap(line => {
        const match = /^([A-Z_]+)="?([^"]*)"?$/.exec(line)
        return match?.[1] ? [[match[1], match[2] ?? '']] : []
      }),
  )

const has = (controller: string): boolean => controllers.includes(controller)

const securityOptions = ({ seccomp, noNewPrivileges }: SecurityDefaults): string[] => [
  ...(existsSync('/sys/module/apparmor') &&
  readOr('/sys/module/apparmor/parameters/enabled', 'N').startsWith('Y')
    ? ['name=apparmor']
    : []),
  ...(existsSync('/proc/sys/kernel/seccomp') ? [`name=seccomp,profile=${seccomp.name}`] : []),
  ...(cgroupVersion === 2 ? ['name=cgroupns'] : []),
  ...(noNewPrivileges ? ['name=no-new-privileges'] : []),
]

const warnings = (engine: Engine): string[] => {
  const list: string[] = []
  if (!has('memory')) list.push('WARNING: No memory limit support')
  if (!has('cpu')) list.push('WARNING: No cpu cfs quota support')
  if (!has('pids')) list.push('WARNING: No pids limit support')
  if (readOr('/proc/sys/net/ipv4/ip_forward', '0').trim() === '0')
    list.push('WARNING: IPv4 forwarding is disabled')
  if (engine.network.firewallProblem !== '')
    list.push(`WARNING: no published ports: ${engine.network.firewallProblem}`)
  list.push(...currentOverlaps(engine).map(text => `WARNING: ${text}`))
  list.push(...engine.network.blocks.map(text => `WARNING: ${text}`))
  if (engine.settings.security.seccomp.name !== 'builtin')
    list.push('WARNING: daemon is not using the default seccomp profile')
  const full = engine.ballast.warning
  if (full)
    list.push(
      `WARNING: ${full}: free some space (docker system df shows what takes it, docker system prune removes what is unused)`,
    )
  return list
}

const counts = (engine: Engine): object => {
  const all = engine.containers.all()
  const paused = all.filter(container => container.record.state.status === 'paused').length
  const running = all.filter(container => container.isRunning).length - paused
  return {
    Containers: all.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: all.length - running - paused,
  }
}

const host = (): object => {
  const os = osRelease()
  return {
    KernelVersion: release(),
    OperatingSystem: os['PRETTY_NAME'] ?? 'Linux',
    OSVersion: os['VERSION_ID'] ?? '',
    OSType: 'linux',
    Architecture: { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch,
    NCPU: cpus().length,
    MemTotal: totalmem(),
    Name: hostname(),
  }
}

const limits = (): object => ({
  MemoryLimit: has('memory'),
  SwapLimit:
    has('memory') && (cgroupVersion === 2 || existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes')),
  CpuCfsPeriod: has('cpu'),
  CpuCfsQuota: has('cpu'),
  CPUShares: has('cpu'),
  CPUSet: has('cpuset'),
  PidsLimit: has('pids'),
  OomKillDisable: cgroupVersion === 1 && has('memory'),
})

/** Names as Docker has them, by statfs(2)'s magic numbers. */
const filesystems: Record<number, string> = {
  61267: 'extfs',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlayfs',
  801189825: 'zfs',
  26985: 'nfs',
}

const backingFilesystem = (folder: string): string => filesystems[statfsSync(folder).type] ?? '<unknown>'

const indexInfo = (Name: string, Mirrors: string[], isHub: boolean): object => ({
  Name,
  Mirrors,
  Secure: isHub,
  Official: isHub,
})

/** Mirrors are shown with the slash that they are used with. */
const registryConfig = ({ mirrors, insecure }: RegistrySettings): object => {
  const Mirrors = mirrors.map(mirror => `${mirror}/`)
  const networks = insecure.filter(entry => entry.includes('/'))
  const named = insecure.filter(entry => !entry.includes('/'))
  return {
    InsecureRegistryCIDRs: [...new Set([...networks, '::1/128', '127.0.0.0/8'])],
    IndexConfigs: Object.fromEntries([
      ...named.map(name => [name, indexInfo(name, [], false)]),
      ['docker.io', indexInfo('docker.io', Mirrors, true)],
    ]),
    Mirrors,
  }
}

/** What was dropped since, for clients of before. */
const fieldsOfVersion = (
  version: ApiVersion,
  { commits, registries }: { commits: Record<string, string>; registries: RegistrySettings },
): object => ({
  RegistryConfig: {
    ...registryConfig(registries),
    ...(version.atLeast('1.47')
      ? {}
      : { AllowNondistributableArtifactsCIDRs: null, AllowNondistributableArtifactsHostnames: null }),
  },
  ...Object.fromEntries(
    Object.entries(commits).map(([name, ID]) => [
      name,
      version.atLeast('1.49') ? { ID } : { ID, Expected: ID },
    ]),
  ),
  ...(version.atLeast('1.50') ? {} : { BridgeNfIptables: false, BridgeNfIp6tables: false }),
})

/** Engine API `SystemInfo`. */
export const systemInfo = async (
  engine: Engine,
  options: { id: string; serverVersion: string; version: ApiVersion },
): Promise<object> => {
  const { settings } = engine
  const versions = await runtimeVersions(settings)
  return {
    ID: options.id,
    ...counts(engine),
    Images: engine.images.rows().length,
    Driver: 'overlay2',
    DriverStatus: [
      ['Backing Filesystem', backingFilesystem(settings.dataRoot)],
      ['Supports d_type', 'true'],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', 'false'],
    ],
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'null'],
      Authorization: null,
      Log: [...logDrivers],
    },
    ...limits(),
    IPv4Forwarding: readOr('/proc/sys/net/ipv4/ip_forward', '0').trim() === '1',
    Debug: settings.debug,
    NFd: -1,
    NGoroutines: -1,
    SystemTime: nowText(),
    LoggingDriver: settings.defaultLog.type,
    CgroupDriver: settings.cgroupDriver,
    CgroupVersion: String(cgroupVersion),
    NEventsListener: engine.events.listeners,
    ...host(),
    IndexServerAddress: 'https://index.docker.io/v1/',
    GenericResources: null,
    DockerRootDir: settings.dataRoot,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Labels: settings.labels,
    ExperimentalBuild: false,
    ServerVersion: options.serverVersion,
    Runtimes: Object.fromEntries(
      [...settings.runtimes.values()].map(runtime => [
        runtime.name,
        { path: runtime.path, ...(runtime.args.length ? { runtimeArgs: runtime.args } : {}) },
      ]),
    ),
    DefaultRuntime: settings.defaultRuntime,
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: settings.liveRestore,
    Isolation: '',
    InitBinary: 'docker-init',
    ...fieldsOfVersion(options.version, {
      registries: settings.registries,
      commits: {
        RuncCommit: versions.get(settings.defaultRuntime) ?? '',
        InitCommit: options.serverVersion,
        ContainerdCommit: '',
      },
    }),
    ...(options.version.atLeast('1.49') && engine.network.publishes
      ? { FirewallBackend: { Driver: 'nftables' } }
      : {}),
    SecurityOptions: securityOptions(settings.security),
    ...(settings.addressPools.length
      ? { DefaultAddressPools: settings.addressPools.map(({ base, size }) => ({ Base: base, Size: size })) }
      : {}),
    CDISpecDirs: [],
    Warnings: warnings(engine),
  }
}

/** Engine API `SystemVersion`. */
export const systemVersion = async (
  engine: Engine,
  options: { serverVersion: string; apiVersion: string; minApiVersion: string },
): Promise<object> => {
  const runtime = engine.settings.defaultRuntime
  const versions = await runtimeVersions(engine.settings)
  const arch = architectureOf(process.arch)
  return {
    Platform: { Name: 'Berth' },
    Components: [
      {
        Name: 'Engine',
        Version: options.serverVersion,
        Details: {
          ApiVersion: options.apiVersion,
          Arch: arch,
          BuildTime: '',
          Experimental: 'false',
          GitCommit: '',
          GoVersion: `Node.js ${process.version}`,
          KernelVersion: release(),
          MinAPIVersion: options.minApiVersion,
          Os: 'linux',
        },
      },
      { Name: runtime, Version: versions.get(runtime) ?? '', Details: { GitCommit: '' } },
    ],
    Version: options.serverVersion,
    ApiVersion: options.apiVersion,
    MinAPIVersion: options.minApiVersion,
    GitCommit: '',
    GoVersion: `Node.js ${process.version}`,
    Os: 'linux',
    Arch: arch,
    KernelVersion: release(),
    BuildTime: '',
  }
}
