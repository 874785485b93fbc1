/** The parts of the OCI runtime specification 1.1+ (config.json) that Berth writes. */

export interface SpecMount {
  destination: string
  type?: string
  source?: string
  options?: string[]
}

export interface SpecProcess {
  terminal: boolean
  consoleSize?: { height: number; width: number }
  user: { uid: number; gid: number; additionalGids?: number[]; umask?: number }
  args: string[]
  env: string[]
  cwd: string
  capabilities: {
    bounding: string[]
    effective: string[]
    inheritable: string[]
    permitted: string[]
    ambient: string[]
  }
  rlimits?: { type: string; hard: number | bigint; soft: number | bigint }[]
  noNewPrivileges: boolean
  oomScoreAdj?: number
  apparmorProfile?: string
  selinuxLabel?: string
}

export interface SpecDevice {
  path: string
  type: 'c' | 'b' | 'p' | 'u'
  major: number
  minor: number
  fileMode?: number
  uid?: number
  gid?: number
}

export interface SpecDeviceRule {
  allow: boolean
  type?: string
  major?: number
  minor?: number
  access?: string
}

export interface SpecResources {
  devices?: SpecDeviceRule[]
  memory?: {
    limit?: number
    reservation?: number
    swap?: number
    swappiness?: number
    disableOOMKiller?: boolean
    kernel?: number
  }
  cpu?: {
    shares?: number
    quota?: number
    period?: number
    realtimeRuntime?: number
    realtimePeriod?: number
    cpus?: string
    mems?: string
  }
  pids?: { limit: number }
  blockIO?: {
    weight?: number
    weightDevice?: { major: number; minor: number; weight: number }[]
    throttleReadBpsDevice?: { major: number; minor: number; rate: number }[]
    throttleWriteBpsDevice?: { major: number; minor: number; rate: number }[]
    throttleReadIOPSDevice?: { major: number; minor: number; rate: number }[]
    throttleWriteIOPSDevice?: { major: number; minor: number; rate: number }[]
  }
  unified?: Record<string, string>
}

export type SeccompAction = 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO' | 'SCMP_ACT_KILL' | (string & {})

export interface SeccompRule {
  names: string[]
  action: SeccompAction
  errnoRet?: number
  args?: { index: number; value: number; valueTwo?: number; op: string }[]
}

export interface SpecSeccomp {
  defaultAction: SeccompAction
  defaultErrnoRet?: number
  architectures?: string[]
  flags?: string[]
  listenerPath?: string
  listenerMetadata?: string
  syscalls: SeccompRule[]
}

export interface SpecNamespace {
  type: 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup'
  path?: string
}

export interface SpecIdMapping {
  containerID: number
  hostID: number
  size: number
}

export interface SpecHook {
  path: string
  args?: string[]
  env?: string[]
  /** Seconds. */
  timeout?: number
}

export interface RuntimeSpec {
  ociVersion: string
  process: SpecProcess
  root: { path: string; readonly: boolean }
  hostname?: string
  domainname?: string
  mounts: SpecMount[]
  annotations?: Record<string, string>
  hooks?: {
    prestart?: SpecHook[]
    createRuntime?: SpecHook[]
    createContainer?: SpecHook[]
    startContainer?: SpecHook[]
    poststart?: SpecHook[]
    poststop?: SpecHook[]
  }
  linux: {
    cgroupsPath: string
    namespaces: SpecNamespace[]
    uidMappings?: SpecIdMapping[]
    gidMappings?: SpecIdMapping[]
    resources: SpecResources
    devices?: SpecDevice[]
    seccomp?: SpecSeccomp
    maskedPaths?: string[]
    readonlyPaths?: string[]
    rootfsPropagation?: string
    sysctl?: Record<string, string>
    mountLabel?: string
    intelRdt?: {
      closID?: string
      l3CacheSchema?: string
      memBwSchema?: string
      schemata?: string[]
      enableMonitoring?: boolean
    }
  }
}
