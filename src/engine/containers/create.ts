import { hostname } from 'node:os'
import { nowText } from '../../core/clock.ts'
import { UndoStack } from '../../core/disposal.ts'
import { BerthError, badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { newId } from '../../core/ids.ts'
import type { ImageConfig } from '../../oci/image.ts'
import { architectureOf } from '../../oci/platform.ts'
import type { ContainerConfig, CreateRequest, HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { attachmentsFor } from '../networks/attachments.ts'
import type { Operation } from '../operations.ts'
import { checkBindSources } from './bindSources.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { createdState } from './createdState.ts'
import { effectiveHostConfig } from './effectiveHostConfig.ts'
import { checkSlice } from './groups.ts'
import { createImageMounts, leaseImages, resolveImageMounts } from './imageMounts.ts'
import { layerLimit } from './layerLimit.ts'
import { decideLinks } from './links.ts'
import { checkLogConfig, checkLogPlugin } from './logDrivers.ts'
import { mergeConfig } from './mergeConfig.ts'
import { decideMounts } from './mountRequests.ts'
import { randomName } from './names.ts'
import { checkExposed, decidePorts } from './portRequests.ts'
import { addWithVolumes } from './prepareVolumes.ts'
import { checkSecurityOptions } from './securityOptions.ts'
import { newLabels } from './selinuxLabels.ts'
import { parseDeviceRule, specRlimits } from './specResources.ts'
import type { ContainerRecord, MountPoint } from './types.ts'
import { checkMappedByNamespace, newIdMaps } from './userNamespaces.ts'
import { checkConfig, checkHostConfig } from './validate.ts'
import { mountsFrom } from './volumesFrom.ts'

const checkRuntime = (engine: Engine, hostConfig: HostConfig): void => {
  if (!engine.settings.runtimes.has(hostConfig.Runtime ?? ''))
    throw badRequest(`unknown or invalid runtime name: ${hostConfig.Runtime}`)
}

const publishes = (mode: string): boolean =>
  !['host', 'none'].includes(mode) && !mode.startsWith('container:')

const hostnameOf = (config: ContainerConfig, hostConfig: HostConfig, id: string): string => {
  if (config.Hostname) return config.Hostname
  return hostConfig.NetworkMode === 'host' ? hostname() : id.slice(0, 12)
}

/** An image for another machine runs only where the host emulates it. */
const platformWarning = ({ os, architecture, variant }: ImageConfig, asked: string): string[] => {
  const host = architectureOf(process.arch)
  if (asked !== '' || (os === 'linux' && architecture === host)) return []
  const image = [os, architecture, variant].filter(Boolean).join('/')
  return [
    `The requested image's platform (${image}) does not match the detected host platform (linux/${host}) and no specific platform was requested`,
  ]
}

const deprecatedLinks =
  'Links on the default bridge network are deprecated and will be removed in a future release. Use a custom network instead.'

export interface CreateOptions {
  platform: string
  /** Whether a read-only bind makes the mounts below it read-only where nothing is said of that. */
  recursiveReadOnly: boolean
}

const decideRecord = (
  engine: Engine,
  request: CreateRequest,
  options: { id: string; name: string } & CreateOptions,
): { record: ContainerRecord; inherited: MountPoint[]; warnings: string[] } => {
  const { HostConfig: givenHost = {}, NetworkingConfig: _networking, ...given } = request
  const image = engine.images.get(given.Image ?? '', options.platform)
  const config = mergeConfig(given, image.config.config ?? {})
  if (!config.Cmd?.length && !config.Entrypoint?.length) throw badRequest('no command specified')
  checkConfig(config)
  const warnings = checkHostConfig(given, givenHost)
  const hostConfig = effectiveHostConfig(engine, givenHost)
  if (engine.settings.cgroupDriver === 'systemd' && hostConfig.CgroupParent)
    checkSlice(hostConfig.CgroupParent)
  checkExposed(config.ExposedPorts)
  checkSecurityOptions(hostConfig.SecurityOpt ?? [])
  checkRuntime(engine, hostConfig)
  checkLogConfig(hostConfig.LogConfig?.Type ?? '', hostConfig.LogConfig?.Config ?? {}, name =>
    engine.plugins.has(name),
  )
  specRlimits(hostConfig)
  for (const rule of hostConfig.DeviceCgroupRules ?? []) parseDeviceRule(rule)
  config.Hostname = hostnameOf(config, hostConfig, options.id)
  const ports = decidePorts(hostConfig, config.ExposedPorts)
  const links = decideLinks(engine, hostConfig)
  if (links.length > 0) warnings.push(deprecatedLinks)
  const idMaps = newIdMaps(engine, hostConfig)
  const selinux = newLabels(engine, hostConfig)
  const inherited = mountsFrom(engine.containers, hostConfig.VolumesFrom ?? [])
  const mounts = decideMounts(hostConfig, config.Volumes, {
    recursiveReadOnly: options.recursiveReadOnly,
    inherited,
    dataRoot: engine.settings.dataRoot,
  })
  checkMappedByNamespace(mounts, idMaps)
  resolveImageMounts(engine, mounts)
  const record: ContainerRecord = {
    id: options.id,
    name: options.name,
    created: nowText(),
    imageId: image.id,
    diffIds: image.config.rootfs.diff_ids,
    platform: image.config.os,
    config,
    hostConfig,
    ...(idMaps ? { idMaps } : {}),
    ...(selinux ? { selinux } : {}),
    mounts,
    ports: publishes(hostConfig.NetworkMode ?? '') ? ports : [],
    networks: attachmentsFor(engine.networks, hostConfig, request.NetworkingConfig ?? {}),
    ...(links.length > 0 ? { links } : {}),
    state: createdState(),
    restartCount: 0,
    runs: 0,
  }
  return {
    record,
    inherited,
    warnings: [...warnings, ...platformWarning(image.config, options.platform)],
  }
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
  options: { name: string; operation: Operation } & CreateOptions,
): Promise<{ container: Container; warnings: string[] }> => {
  if (engine.stopping) throw new BerthError('stopping', 503, 'the daemon is shutting down')
  const id = newId()
  await using undo = new UndoStack((step, error) =>
    engine.log.error(`undo of create: ${step}`, { container: id, error }),
  )
  const name = chooseName(engine, options.name, id)
  undo.push('name', () => engine.containers.releaseName(name, id))
  const { record, inherited, warnings } = decideRecord(engine, request, { ...options, id, name })
  failpoint('create.decided')
  using lease = engine.images.lease(record.imageId)
  using _mounted = leaseImages(engine, record)
  const { operation } = options
  await checkLogPlugin(engine, record, operation)
  const limit = layerLimit(engine, record.hostConfig)
  operation.at('looking at the sources of its mounts')
  await checkBindSources(engine, record, operation)
  operation.at('unpacking its image')
  const layers = await engine.images.layersOf(lease.image, operation.signal)
  undo.push('upper', () => engine.uppers.remove(id))
  await engine.uppers.create(id, layers, { init: true, ...(limit === undefined ? {} : { limit }) })
  failpoint('create.upper')
  await createImageMounts(engine, record, { undo, operation })
  const container = await addWithVolumes(engine, record, { inherited, operation })
  undo.commit()
  containerEvent(engine, container, 'create')
  return { container, warnings }
}
