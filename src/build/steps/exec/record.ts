import { nowText } from '../../../core/clock.ts'
import { createdState } from '../../../engine/containers/createdState.ts'
import { effectiveHostConfig } from '../../../engine/containers/effectiveHostConfig.ts'
import { blankMount } from '../../../engine/containers/mountRequests.ts'
import { newLabels } from '../../../engine/containers/selinuxLabels.ts'
import type { ContainerRecord, MountPoint } from '../../../engine/containers/types.ts'
import { newIdMaps } from '../../../engine/containers/userNamespaces.ts'
import type { Engine } from '../../../engine/engine.ts'
import { attachmentsFor } from '../../../engine/networks/attachments.ts'
import type { HostConfig } from '../../../wire/container.ts'
import type { ExecOperation } from '../../graph/types.ts'

/** As BuildKit calls the host of a step. */
const defaultHostname = 'buildkitsandbox'

const networkModes = { default: 'bridge', host: 'host', none: 'none' } as const

/** Limits are a container's: a step is one that nobody sees. */
const hostConfigOf = (engine: Engine, operation: ExecOperation): HostConfig =>
  effectiveHostConfig(engine, {
    NetworkMode: networkModes[operation.network],
    Privileged: operation.security === 'insecure',
    ExtraHosts: operation.extraHosts.map(({ host, address }) => `${host}:${address}`),
    Ulimits: operation.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    LogConfig: { Type: 'none', Config: {} },
    Init: false,
    ...(operation.shmSize ? { ShmSize: operation.shmSize } : {}),
    ...(operation.cgroupParent ? { CgroupParent: operation.cgroupParent } : {}),
    ...(operation.devices.length > 0
      ? { DeviceRequests: [{ Driver: 'cdi', DeviceIDs: operation.devices.map(({ name }) => name) }] }
      : {}),
  })

/** The container that a step runs as: what decides its specification, its network and its files. */
export const stepRecord = (
  engine: Engine,
  operation: ExecOperation,
  { id, readOnly, args }: { id: string; readOnly: boolean; args: string[] },
): ContainerRecord => {
  const hostConfig = { ...hostConfigOf(engine, operation), ReadonlyRootfs: readOnly }
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
