import { readFileSync } from 'node:fs'
import type { RuntimeSpec } from '../../oci/runtimeSpec.ts'
import { injectDevices } from '../devices/deviceRequests.ts'
import type { Engine } from '../engine.ts'
import { containerProfile } from './appArmor.ts'
import { asTheHostHasThem, plainFiles } from './bindPropagation.ts'
import { blockIo } from './blockIo.ts'
import { prepareRealtime } from './cpuRealtime.ts'
import { containerFiles } from './files.ts'
import { containerGroup, scopeAnnotations } from './groups.ts'
import { linkVariables } from './links.ts'
import { joinedNamespaces } from './namespaces.ts'
import { containerDevices, hostCapabilities } from './privileges.ts'
import { buildSpec } from './spec.ts'
import type { ContainerFiles } from './specMounts.ts'
import type { ContainerRecord } from './types.ts'
import { containerUser } from './userFiles.ts'

export interface Composed {
  /** Where its root is mounted. */
  rootfs: string
  /** Files that Berth writes for it; those of a container unless told. */
  files?: ContainerFiles
}

/** The specification of a container whose root is mounted and whose networks are connected; its mounts are as the runtime is to bind them. */
export const composeSpec = async (
  engine: Engine,
  given: ContainerRecord,
  { rootfs, files = containerFiles(engine, given) }: Composed,
): Promise<RuntimeSpec> => {
  const record = { ...given, mounts: await asTheHostHasThem(given.mounts) }
  const group = containerGroup(engine.settings, record)
  prepareRealtime(group.group, engine.settings.cpuRealtime)
  const io = blockIo(record.hostConfig)
  const appArmor = await containerProfile(record.hostConfig)
  const spec = buildSpec({
    record,
    ...(appArmor ? { appArmor } : {}),
    security: engine.settings.security,
    rootfs,
    cgroupsPath: group.specPath,
    user: containerUser(rootfs, record.config.User ?? '', record.hostConfig.GroupAdd ?? []),
    files,
    plainFiles: await plainFiles(record.mounts),
    linkVariables: linkVariables(engine, record),
    join: await joinedNamespaces(engine, record),
    ...(record.idMaps ? { idMaps: record.idMaps } : {}),
    hostCapabilities: hostCapabilities(),
    devices: containerDevices(record),
    ...(io ? { blockIO: io } : {}),
    daemonOomScore: Number(readFileSync('/proc/self/oom_score_adj', 'utf8')),
    annotations: scopeAnnotations(engine.settings),
  })
  await injectDevices(spec, record.hostConfig.DeviceRequests ?? [], {
    folders: engine.settings.cdiFolders,
    taken: new Set(record.mounts.map(mount => mount.destination)),
  })
  return spec
}
