import path from 'node:path'
import { hostHasAppArmor } from '../../linux/appArmor.ts'
import type { ApiVersion } from '../../wire/version.ts'
import type { Engine } from '../engine.ts'
import { profileName } from './appArmor.ts'
import type { Container } from './container.ts'
import { commandOf, mountList } from './describe.ts'
import { inspectedConfig, inspectedHostConfig } from './inspectConfig.ts'
import { linkTexts } from './links.ts'
import { containerDirectory, publicLogPath } from './logConfig.ts'
import { networkSettings } from './networkSettings.ts'
import { settleExit } from './state.ts'
import type { ContainerRecord } from './types.ts'

const stateOf = (container: Container): object => {
  const { state } = container.record
  return {
    Status: state.status,
    Running: container.isRunning || state.status === 'restarting',
    Paused: state.status === 'paused',
    Restarting: state.status === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: state.status === 'dead',
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(state.health ? { Health: state.health } : {}),
  }
}

const filePaths = (engine: Engine, container: Container): object => {
  const { record } = container
  const directory = containerDirectory(engine.settings.dataRoot, record.id)
  return {
    ResolvConfPath: path.join(directory, 'resolv.conf'),
    HostnamePath: path.join(directory, 'hostname'),
    HostsPath: path.join(directory, 'hosts'),
    LogPath: publicLogPath(engine.settings.dataRoot, record),
  }
}

/** `GET /containers/{id}/json` */
export const inspectContainer = async (
  engine: Engine,
  container: Container,
  options: { size: boolean; version: ApiVersion },
): Promise<object> => {
  await settleExit(engine, container)
  const { record } = container
  const [program = '', ...args] = commandOf(record)
  const usage = options.size ? await engine.uppers.usage(record.id) : undefined
  const layers = options.size ? ((await engine.layers.find(record.diffIds)) ?? []) : []
  const execs = engine.execs.idsOf(record.id)
  return {
    Id: record.id,
    Created: record.created,
    Path: program,
    Args: args,
    State: stateOf(container),
    Image: record.imageId,
    ...filePaths(engine, container),
    Name: `/${record.name}`,
    RestartCount: record.restartCount,
    Driver: 'overlay2',
    Platform: record.platform,
    MountLabel: record.selinux?.mount ?? '',
    ProcessLabel: record.selinux?.process ?? '',
    AppArmorProfile: profileName(record.hostConfig, hostHasAppArmor()) ?? '',
    ExecIDs: execs.length ? execs : null,
    HostConfig: { ...inspectedHostConfig(record.hostConfig), Links: linkTexts(engine, record) },
    GraphDriver: { Name: 'overlay2', Data: { ID: record.id, ...engine.uppers.paths(record.id) } },
    ...(usage
      ? { SizeRw: usage.size, SizeRootFs: usage.size + layers.reduce((sum, layer) => sum + layer.size, 0) }
      : {}),
    Mounts: mountList(record),
    Config: { ...inspectedConfig(record.config), ...legacyMac(record, options.version) },
    NetworkSettings: networkSettings(engine, record, options.version),
    ...(options.version.atLeast('1.48') ? { ImageManifestDescriptor: manifestOf(engine, record) } : {}),
  }
}

/** The address that was asked for stood in the configuration until 1.52. */
const legacyMac = ({ networks }: ContainerRecord, version: ApiVersion): { MacAddress?: string } => {
  const mac = networks[0]?.mac ?? ''
  return mac === '' || version.atLeast('1.52') ? {} : { MacAddress: mac }
}

/** The manifest of a container's image, as far as its image came with one. */
export const manifestOf = (engine: Engine, { imageId }: ContainerRecord): object | undefined =>
  engine.images.byId(imageId)?.targets[0]?.manifest
