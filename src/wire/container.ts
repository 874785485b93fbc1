import {
  bool,
  both,
  type Decoded,
  empty,
  int,
  list,
  map,
  nullable,
  object,
  string,
  strings,
} from './decode.ts'

/** Requests about containers: Engine API `ContainerConfig`, `HostConfig`, `NetworkingConfig`, `Resources`. */

export const healthConfig = object({
  Test: strings,
  Interval: int,
  Timeout: int,
  StartPeriod: int,
  StartInterval: int,
  Retries: int,
})

export const containerConfig = object({
  Hostname: string,
  Domainname: string,
  User: string,
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  ExposedPorts: map(empty),
  Tty: bool,
  OpenStdin: bool,
  StdinOnce: bool,
  Env: list(string),
  Cmd: strings,
  Healthcheck: healthConfig,
  ArgsEscaped: bool,
  Image: string,
  Volumes: map(empty),
  WorkingDir: string,
  Entrypoint: strings,
  NetworkDisabled: bool,
  MacAddress: string,
  OnBuild: list(string),
  Labels: map(string),
  StopSignal: string,
  StopTimeout: int,
  Shell: strings,
})
export type ContainerConfig = Decoded<typeof containerConfig>

const weightDevice = object({ Path: string, Weight: int })
const throttleDevice = object({ Path: string, Rate: int })

const resources = object({
  CpuShares: int,
  Memory: int,
  CgroupParent: string,
  BlkioWeight: int,
  BlkioWeightDevice: list(weightDevice),
  BlkioDeviceReadBps: list(throttleDevice),
  BlkioDeviceWriteBps: list(throttleDevice),
  BlkioDeviceReadIOps: list(throttleDevice),
  BlkioDeviceWriteIOps: list(throttleDevice),
  CpuPeriod: int,
  CpuQuota: int,
  CpuRealtimePeriod: int,
  CpuRealtimeRuntime: int,
  CpusetCpus: string,
  CpusetMems: string,
  Devices: list(object({ PathOnHost: string, PathInContainer: string, CgroupPermissions: string })),
  DeviceCgroupRules: list(string),
  DeviceRequests: list(
    object({
      Driver: string,
      Count: int,
      DeviceIDs: list(string),
      Capabilities: list(list(string)),
      Options: map(string),
    }),
  ),
  KernelMemory: int,
  KernelMemoryTCP: int,
  MemoryReservation: int,
  MemorySwap: int,
  MemorySwappiness: int,
  NanoCpus: int,
  OomKillDisable: bool,
  Init: bool,
  PidsLimit: int,
  Ulimits: list(object({ Name: string, Soft: int, Hard: int })),
  CpuCount: int,
  CpuPercent: int,
  IOMaximumIOps: int,
  IOMaximumBandwidth: int,
})
export type Resources = Decoded<typeof resources>

export const restartPolicy = object({ Name: string, MaximumRetryCount: int })
export type RestartPolicy = Decoded<typeof restartPolicy>

export const portBinding = object({ HostIp: string, HostPort: string })

export const mountRequest = object({
  Target: string,
  Source: string,
  Type: string,
  ReadOnly: bool,
  Consistency: string,
  BindOptions: object({
    Propagation: string,
    NonRecursive: bool,
    CreateMountpoint: bool,
    ReadOnlyNonRecursive: bool,
    ReadOnlyForceRecursive: bool,
    IDMapping: object({ Source: string, User: string }),
  }),
  VolumeOptions: object({
    NoCopy: bool,
    Labels: map(string),
    DriverConfig: object({ Name: string, Options: map(string) }),
    Subpath: string,
  }),
  ImageOptions: object({ Subpath: string }),
  TmpfsOptions: object({ SizeBytes: int, Mode: int, Options: list(list(string)) }),
})
export type MountRequest = Decoded<typeof mountRequest>

const hostOnly = object({
  Binds: list(string),
  ContainerIDFile: string,
  LogConfig: object({ Type: string, Config: map(string) }),
  NetworkMode: string,
  PortBindings: map(nullable(list(portBinding))),
  RestartPolicy: restartPolicy,
  AutoRemove: bool,
  VolumeDriver: string,
  VolumesFrom: list(string),
  Mounts: list(mountRequest),
  ConsoleSize: list(int),
  Annotations: map(string),
  CapAdd: strings,
  CapDrop: strings,
  /** Of API 1.40 alone. */
  Capabilities: list(string),
  CgroupnsMode: string,
  Dns: list(string),
  DnsOptions: list(string),
  DnsSearch: list(string),
  ExtraHosts: list(string),
  GroupAdd: list(string),
  IpcMode: string,
  Cgroup: string,
  Links: list(string),
  OomScoreAdj: int,
  PidMode: string,
  Privileged: bool,
  PublishAllPorts: bool,
  ReadonlyRootfs: bool,
  SecurityOpt: list(string),
  StorageOpt: map(string),
  Tmpfs: map(string),
  UTSMode: string,
  UsernsMode: string,
  ShmSize: int,
  Sysctls: map(string),
  Runtime: string,
  Isolation: string,
  MaskedPaths: nullable(list(string)),
  ReadonlyPaths: nullable(list(string)),
})
export const hostConfig = both(hostOnly, resources)
export type HostConfig = Decoded<typeof hostConfig>

export const endpointSettings = object({
  IPAMConfig: object({ IPv4Address: string, IPv6Address: string, LinkLocalIPs: list(string) }),
  Links: list(string),
  MacAddress: string,
  Aliases: list(string),
  DriverOpts: map(string),
  GwPriority: int,
  NetworkID: string,
  EndpointID: string,
  Gateway: string,
  IPAddress: string,
  IPPrefixLen: int,
})
export type EndpointSettings = Decoded<typeof endpointSettings>

export const networkingConfig = object({ EndpointsConfig: map(nullable(endpointSettings)) })
export type NetworkingConfig = Decoded<typeof networkingConfig>

export const createRequest = both(
  containerConfig,
  object({ HostConfig: hostConfig, NetworkingConfig: networkingConfig }),
)
export type CreateRequest = Decoded<typeof createRequest>

export const updateRequest = both(resources, object({ RestartPolicy: restartPolicy }))
export type UpdateRequest = Decoded<typeof updateRequest>

export const execCreateRequest = object({
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  ConsoleSize: list(int),
  DetachKeys: string,
  Tty: bool,
  Env: list(string),
  Cmd: strings,
  Privileged: bool,
  User: string,
  WorkingDir: string,
})
export type ExecCreateRequest = Decoded<typeof execCreateRequest>

export const execStartRequest = object({ Detach: bool, Tty: bool, ConsoleSize: list(int) })
