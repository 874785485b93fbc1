import { nowText, zeroTime } from '../../core/clock.ts'
import { UndoStack } from '../../core/disposal.ts'
import { BerthError, badRequest, notFound } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { newId } from '../../core/ids.ts'
import { cgroupVersion } from '../../linux/cgroups.ts'
import type { ContainerConfig, CreateRequest, HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { checkSlice } from './groups.ts'
import { checkLogConfig } from './logConfig.ts'
import { mergeConfig } from './mergeConfig.ts'
import { decideMounts } from './mountRequests.ts'
import { randomName } from './names.ts'
import { checkExposed, decidePorts } from './portRequests.ts'
import { checkSecurityOptions } from './spec.ts'
import { parseDeviceRule, specRlimits } from './specResources.ts'
import type { ContainerRecord } from './types.ts'
import { checkConfig, checkHostConfig, dropUnsupported } from './validate.ts'
import { prepareVolumes, removeVolumes, volumePuts } from './volumes.ts'

/** Fills in what Docker fills in, so that inspect shows effective values. */
const withDefaults = (engine: Engine, given: HostConfig): HostConfig => {
  const { settings } = engine
  const hostConfig: HostConfig = { ...given }
  hostConfig.NetworkMode =
    !given.NetworkMode || given.NetworkMode === 'default' ? 'bridge' : given.NetworkMode
  hostConfig.IpcMode = given.IpcMode || settings.defaultIpcMode
  hostConfig.CgroupnsMode = given.CgroupnsMode || settings.defaultCgroupnsMode
  hostConfig.ShmSize = given.ShmSize || settings.defaultShmSize
  hostConfig.Runtime = given.Runtime || settings.defaultRuntime
  hostConfig.RestartPolicy = {
    MaximumRetryCount: 0,
    ...given.RestartPolicy,
    Name: given.RestartPolicy?.Name || 'no',
  }
  hostConfig.LogConfig = {
    Type: given.LogConfig?.Type || settings.defaultLog.type,
    Config: {
      ...(given.LogConfig?.Type && given.LogConfig.Type !== settings.defaultLog.type
        ? {}
        : settings.defaultLog.options),
      ...given.LogConfig?.Config,
    },
  }
  return hostConfig
}

const checkRuntime = (engine: Engine, hostConfig: HostConfig): void => {
  if (!engine.settings.runtimes.has(hostConfig.Runtime ?? ''))
    throw badRequest(`unknown or invalid runtime name: ${hostConfig.Runtime}`)
}

const checkNetwork = (engine: Engine, hostConfig: HostConfig): void => {
  const mode = hostConfig.NetworkMode ?? ''
  if (mode.startsWith('container:')) return
  if (!engine.networks.find(mode)) throw notFound(`network ${mode} not found`)
}

const hostnameOf = (config: ContainerConfig, hostConfig: HostConfig, id: string): string => {
  if (config.Hostname) return config.Hostname
  if (hostConfig.NetworkMode?.startsWith('container:')) return ''
  return id.slice(0, 12)
}

const decideRecord = (
  engine: Engine,
  request: CreateRequest,
  options: { id: string; name: string; platform: string },
): { record: ContainerRecord; warnings: string[] } => {
  const { HostConfig: givenHost = {}, NetworkingConfig: _networking, ...given } = request
  const image = engine.images.get(given.Image ?? '', options.platform)
  const config = mergeConfig(given, image.config.config ?? {})
  if (!config.Cmd?.length && !config.Entrypoint?.length) throw badRequest('no command specified')
  const hostConfig = withDefaults(engine, givenHost)
  checkConfig(config)
  const warnings = [...dropUnsupported(hostConfig, cgroupVersion), ...checkHostConfig(config, hostConfig)]
  if (engine.settings.cgroupDriver === 'systemd' && hostConfig.CgroupParent)
    checkSlice(hostConfig.CgroupParent)
  checkExposed(config.ExposedPorts)
  checkSecurityOptions(hostConfig.SecurityOpt ?? [])
  checkRuntime(engine, hostConfig)
  checkNetwork(engine, hostConfig)
  checkLogConfig(hostConfig.LogConfig?.Type ?? '', hostConfig.LogConfig?.Config ?? {})
  specRlimits(hostConfig)
  for (const rule of hostConfig.DeviceCgroupRules ?? []) parseDeviceRule(rule)
  config.Hostname = hostnameOf(config, hostConfig, options.id)
  const ports = hostConfig.NetworkMode === 'bridge' ? decidePorts(hostConfig, config.ExposedPorts) : []
  const record: ContainerRecord = {
    id: options.id,
    name: options.name,
    created: nowText(),
    imageId: image.id,
    diffIds: image.config.rootfs.diff_ids,
    platform: image.config.os,
    config,
    hostConfig,
    mounts: decideMounts(hostConfig, config.Volumes),
    ports,
    networks: engine.networks.attachmentsFor(
      hostConfig.NetworkMode ?? 'bridge',
      request.NetworkingConfig ?? {},
    ),
    state: {
      status: 'created',
      pid: 0,
      exitCode: 0,
      error: '',
      oomKilled: false,
      startedAt: zeroTime,
      finishedAt: zeroTime,
      stoppedByCall: false,
    },
    restartCount: 0,
    runs: 0,
  }
  return { record, warnings }
}

const chooseName = (engine: Engine, wanted: string, id: string): string => {
  const name = wanted.replace(/^\//, '')
  if (wanted !== '') {
    engine.containers.reserveName(name, id)
    return name
  }
  for (let attempt = 0; ; attempt++) {
    const candidate = attempt < 6 ? randomName(attempt) : id.slice(0, 12)
    if (!engine.containers.isNameFree(candidate)) continue
    engine.containers.reserveName(candidate, id)
    return candidate
  }
}

/**
 * `POST /containers/create`. The container is durable when this settles; what
 * was made for one that failed is taken away again.
 */
export const createContainer = async (
  engine: Engine,
  request: CreateRequest,
  options: { name: string; platform: string; operation: Operation },
): Promise<{ container: Container; warnings: string[] }> => {
  if (engine.stopping) throw new BerthError('stopping', 503, 'the daemon is shutting down')
  const id = newId()
  await using undo = new UndoStack((step, error) =>
    engine.log.error(`undo of create: ${step}`, { container: id, error }),
  )
  const name = chooseName(engine, options.name, id)
  undo.push('name', () => engine.containers.releaseName(name, id))
  const { record, warnings } = decideRecord(engine, request, { id, name, platform: options.platform })
  failpoint('create.decided')
  using lease = engine.images.lease(record.imageId)
  const { operation } = options
  operation.at('unpacking its image')
  const layers = await engine.images.layersOf(lease.image, operation.signal)
  undo.push('upper', () => engine.uppers.remove(id))
  await engine.uppers.create(id, layers, { init: true })
  failpoint('create.upper')
  undo.push('volumes', () => removeVolumes(engine, record))
  operation.at('filling its volumes')
  await prepareVolumes(engine, record, operation.signal)
  operation.at('recording it')
  failpoint('create.volumes')
  const container = await engine.containers.add(record, volumePuts(record))
  failpoint('create.recorded')
  undo.commit()
  containerEvent(engine, container, 'create')
  return { container, warnings }
}
