import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { cpus, hostname, release, totalmem } from 'node:os'
import { nowText } from '../../core/clock.ts'
import { hostHasAppArmor } from '../../linux/appArmor.ts'
import { cgroupVersion } from '../../linux/cgroups.ts'
import { architectureOf } from '../../oci/platform.ts'
import type { RegistrySettings } from '../../registry-client/types.ts'
import type { RuntimeBinary } from '../../runtime/types.ts'
import type { ApiVersion } from '../../wire/version.ts'
import { logDrivers } from '../containers/logDrivers.ts'
import { discoveredDevices } from '../devices/deviceRequests.ts'
import type { Engine } from '../engine.ts'
import { currentOverlaps } from '../networks/overlaps.ts'
import type { EngineSettings } from '../settings.ts'
import { limitFacts, missingLimits } from './limitFacts.ts'
import { runtimeFacts } from './runtimeFacts.ts'

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

const securityOptions = ({ security, idMaps }: EngineSettings): string[] => {
  const { seccomp, noNewPrivileges, selinux } = security
  return [
    ...(hostHasAppArmor() ? ['name=apparmor'] : []),
    ...(existsSync('/proc/sys/kernel/seccomp') ? [`name=seccomp,profile=${seccomp.name}`] : []),
    ...(selinux ? ['name=selinux'] : []),
    ...(idMaps ? ['name=userns'] : []),
    ...(cgroupVersion === 2 ? ['name=cgroupns'] : []),
    ...(noNewPrivileges ? ['name=no-new-privileges'] : []),
  ]
}

/** Before 1.25: `seccomp` for `name=seccomp,profile=builtin`. */
const nameAlone = (option: string): string => /^name=([^,]*)/.exec(option)?.[1] ?? option

const warnings = (engine: Engine): string[] => {
  const list = missingLimits()
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

export interface HostFacts {
  KernelVersion: string
  OperatingSystem: string
  OSVersion: string
  OSType: string
  /** As uname(2) names it. */
  Architecture: string
  NCPU: number
  /** Bytes. */
  MemTotal: number
  Name: string
}

export const hostFacts = (): HostFacts => {
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

const runtimeInfo = ({ path, args }: RuntimeBinary, features: string | undefined): object => ({
  path,
  ...(args.length ? { runtimeArgs: args } : {}),
  ...(features ? { status: { 'org.opencontainers.runtime-spec.features': features } } : {}),
})

/** Milliseconds that a log plugin nobody has used yet may take to tell that it is one. */
const pluginPatience = 1000

/** Engine API `SystemInfo`. */
export const systemInfo = async (
  engine: Engine,
  options: { id: string; serverVersion: string; version: ApiVersion },
): Promise<object> => {
  const { settings } = engine
  const facts = await runtimeFacts(settings)
  const found = await discoveredDevices(settings.cdiFolders)
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
      Volume: ['local', ...engine.plugins.activeNames('VolumeDriver')].sort(),
      Network: ['bridge', 'host', 'null'],
      Authorization: settings.authorizationPlugins.length ? settings.authorizationPlugins : null,
      Log: [...logDrivers, ...(await engine.plugins.names('LogDriver', pluginPatience))].sort(),
    },
    ...limitFacts(),
    IPv4Forwarding: readOr('/proc/sys/net/ipv4/ip_forward', '0').trim() === '1',
    Debug: settings.debug,
    NFd: -1,
    NGoroutines: -1,
    SystemTime: nowText(),
    LoggingDriver: settings.defaultLog.type,
    CgroupDriver: settings.cgroupDriver,
    CgroupVersion: String(cgroupVersion),
    NEventsListener: engine.events.listeners,
    ...hostFacts(),
    IndexServerAddress: 'https://index.docker.io/v1/',
    GenericResources: null,
    DockerRootDir: settings.dataRoot,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Labels: settings.labels,
    ExperimentalBuild: settings.experimental,
    ServerVersion: options.serverVersion,
    Runtimes: Object.fromEntries(
      [...settings.runtimes.values()].map(runtime => [
        runtime.name,
        runtimeInfo(runtime, options.version.atLeast('1.44') ? facts.get(runtime.name)?.features : undefined),
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
        RuncCommit: facts.get(settings.defaultRuntime)?.version ?? '',
        InitCommit: options.serverVersion,
        ContainerdCommit: '',
      },
    }),
    ...(options.version.atLeast('1.49') && engine.network.publishes
      ? { FirewallBackend: { Driver: 'nftables' } }
      : {}),
    SecurityOptions: options.version.atLeast('1.25')
      ? securityOptions(settings)
      : securityOptions(settings).map(nameAlone),
    ...(settings.addressPools.length
      ? { DefaultAddressPools: settings.addressPools.map(({ base, size }) => ({ Base: base, Size: size })) }
      : {}),
    CDISpecDirs: settings.cdiFolders,
    ...(options.version.atLeast('1.50') ? { DiscoveredDevices: found.devices } : {}),
    Warnings: [...warnings(engine), ...found.warnings],
  }
}

/** Engine API `SystemVersion`. */
export const systemVersion = async (
  engine: Engine,
  options: { serverVersion: string; apiVersion: string; minApiVersion: string },
): Promise<object> => {
  const runtime = engine.settings.defaultRuntime
  const facts = await runtimeFacts(engine.settings)
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
          Experimental: String(engine.settings.experimental),
          GitCommit: '',
          GoVersion: `Node.js ${process.version}`,
          KernelVersion: release(),
          MinAPIVersion: options.minApiVersion,
          Os: 'linux',
        },
      },
      { Name: runtime, Version: facts.get(runtime)?.version ?? '', Details: { GitCommit: '' } },
    ],
    Version: options.serverVersion,
    ApiVersion: options.apiVersion,
    MinAPIVersion: options.minApiVersion,
    GitCommit: '',
    GoVersion: `Node.js ${process.version}`,
    Os: 'linux',
    Arch: arch,
    KernelVersion: release(),
    ...(engine.settings.experimental ? { Experimental: true } : {}),
    BuildTime: '',
  }
}
