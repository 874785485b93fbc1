import { nowText } from '../../../core/clock.ts'
import { createdState } from '../../../engine/containers/createdState.ts'
import { effectiveHostConfig } from '../../../engine/containers/effectiveHostConfig.ts'
import { checkSlice } from '../../../engine/containers/groups.ts'
import { blankMount } from '../../../engine/containers/mountRequests.ts'
import { newLabels } from '../../../engine/containers/selinuxLabels.ts'
import { specRlimits } from '../../../engine/containers/specResources.ts'
import type { ContainerRecord, MountPoint } from '../../../engine/containers/types.ts'
import { newIdMaps } from '../../../engine/containers/userNamespaces.ts'
import { checkResources } from '../../../engine/containers/validateResources.ts'
import type { Engine } from '../../../engine/engine.ts'
import { attachmentsFor } from '../../../engine/networks/attachments.ts'
import type { HostConfig } from '../../../wire/container.ts'
import type { StepLimits } from '../../frontend/limits.ts'
import type { ExecOperation } from '../../graph/types.ts'

/** As BuildKit calls the host of a step. */
const defaultHostname = 'buildkitsandbox'

const networkModes = { default: 'bridge', host: 'host', none: 'none' } as const

type Limited = Partial<Pick<ExecOperation, 'ulimits' | 'cgroupParent'>>

const limitsOf = (limits: StepLimits, { ulimits = [], cgroupParent }: Limited): HostConfig => ({
  ...limits,
  Ulimits: ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
  ...(cgroupParent ? { CgroupParent: cgroupParent } : {}),
})

/** What the host cannot do is left out, and told of. Errors: `bad-request` in the words in which containers are refused. */
export const checkedLimits = (
  { settings }: Pick<Engine, 'settings'>,
  limits: StepLimits,
  limited: Limited,
): { hostConfig: HostConfig; warnings: string[] } => {
  const hostConfig = limitsOf(limits, limited)
  const warnings = checkResources(hostConfig, { update: false })
  specRlimits(hostConfig)
  if (settings.cgroupDriver === 'systemd' && hostConfig.CgroupParent) checkSlice(hostConfig.CgroupParent)
  return { hostConfig, warnings }
}

/** A step is a container that nobody sees. */
const hostConfigOf = (engine: Engine, operation: ExecOperation, limits: HostConfig): HostConfig =>
  effectiveHostConfig(engine, {
    ...limits,
    NetworkMode: networkModes[operation.network],
    Privileged: operation.security === 'insecure',
    ExtraHosts: operation.extraHosts.map(({ host, address }) => `${host}:${address}`),
    LogConfig: { Type: 'none', Config: {} },
    Init: false,
    ...(operation.shmSize ? { ShmSize: operation.shmSize } : {}),
    ...(operation.devices.length > 0
      ? { DeviceRequests: [{ Driver: 'cdi', DeviceIDs: operation.devices.map(({ name }) => name) }] }
      : {}),
  })

interface StepOptions {
  id: string
  readOnly: boolean
  args: string[]
  limits: StepLimits
  /** Hears of limits that the host cannot keep. */
  warn(text: string): void
}

/** The container that a step runs as: what decides its specification, its network and its files. */
export const stepRecord = (
  engine: Engine,
  operation: ExecOperation,
  { id, readOnly, args, limits, warn }: StepOptions,
): ContainerRecord => {
  const checked = checkedLimits(engine, limits, operation)
  for (const warning of checked.warnings) warn(warning)
  const hostConfig = {
    ...hostConfigOf(engine, operation, checked.hostConfig),
    ReadonlyRootfs: readOnly,
  }
  const idMaps = newIdMaps(engine, hostConfig)
  const selinux = newLabels(engine, hostConfig)
  return {
    id,
    name: '',
    created: nowText(),
    imageId: `sha256:${'0'.repeat(64)}`,
    diffIds: [],
    platform: 'linux',
    config: {
      Cmd: args,
      WorkingDir: operation.directory,
      User: operation.user,
      Hostname: operation.hostname || defaultHostname,
    },
    hostConfig,
    ...(idMaps ? { idMaps } : {}),
    ...(selinux ? { selinux } : {}),
    mounts: [],
    ports: [],
    networks: attachmentsFor(engine.networks, hostConfig, {}),
    state: createdState(),
    restartCount: 0,
    runs: 1,
    isStep: true,
  }
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Just what the Dockerfile says, proxies, secrets, and a PATH; the runtime adds HOME. */
export const stepEnvironment = (
  { env, proxy }: Pick<ExecOperation, 'env' | 'proxy'>,
  secrets: readonly string[],
): string[] => [
  ...env,
  ...Object.entries(proxy).map(([name, value]) => `${name}=${value}`),
  ...(env.some(entry => entry.startsWith('PATH=')) ? [] : [`PATH=${defaultPath}`]),
  ...secrets,
]

export const bindPoint = (
  point: Pick<MountPoint, 'source' | 'destination' | 'readWrite'> & { subpath?: string },
): MountPoint => ({ ...blankMount('bind', point.destination), propagation: 'rprivate', ...point })
