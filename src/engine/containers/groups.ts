import path from 'node:path'
import { badRequest } from '../../core/errors.ts'
import {
  cgroupVersion,
  controllers,
  groupDirectory,
  groupsBelow,
  readGroupFile,
} from '../../linux/cgroups.ts'
import type { EngineSettings } from '../settings.ts'
import type { ContainerRecord } from './types.ts'

/** Where a container's processes live in the control group tree. */
export interface ContainerGroup {
  /** As the OCI specification's `cgroupsPath` wants it. */
  specPath: string
  /** Below the hierarchies' root. */
  group: string
}

/** `a-b.slice` lies in `a.slice/a-b.slice` (systemd.slice(5)). */
const slicePath = (slice: string): string => {
  const parts = slice.replace(/\.slice$/, '').split('-')
  return path.posix.join('/', ...parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`))
}

/** Docker's rule for a parent where systemd makes the groups. Errors: `bad-request`. */
export const checkSlice = (parent: string): void => {
  if (!/^.+\.slice$/.test(parent))
    throw badRequest('cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"')
}

export const containerGroup = (settings: EngineSettings, record: ContainerRecord): ContainerGroup => {
  const parent = record.hostConfig.CgroupParent || settings.cgroupParent
  if (settings.cgroupDriver === 'systemd')
    return {
      specPath: `${parent}:${settings.scopePrefix}:${record.id}`,
      group: path.posix.join(slicePath(parent), `${settings.scopePrefix}-${record.id}.scope`),
    }
  const group = path.posix.join('/', parent, record.id)
  return { specPath: group, group }
}

/**
 * What a runtime tells systemd of a container's scope. One that failed is not
 * kept. When the host goes down it is stopped after the daemon, which until then
 * stops containers in its own way (units are stopped in the reverse of the order
 * in which they start).
 */
export const scopeAnnotations = ({ cgroupDriver, unit }: EngineSettings): Record<string, string> =>
  cgroupDriver === 'systemd'
    ? {
        'org.systemd.property.CollectMode': "'inactive-or-failed'",
        ...(unit === '' ? {} : { 'org.systemd.property.Before': `['${unit}']` }),
      }
    : {}

/** The directory that the monitor watches for OOM, `''` where there is none. */
export const memoryDirectory = (group: string): string => groupDirectory(group, 'memory')

/** Whether the processes of a group are stopped, as the kernel has it. With systemd crun runs and freezes them in a group below the scope. */
export const isFrozen = (group: string): boolean =>
  cgroupVersion === 2
    ? [group, ...groupsBelow(group).map(name => path.posix.join(group, name))].some(each =>
        /^frozen 1$/m.test(readGroupFile(each, '', 'cgroup.events') ?? ''),
      )
    : (readGroupFile(group, 'freezer', 'freezer.state') ?? 'THAWED') !== 'THAWED'

/** Ids of containers that have groups of their own below the daemon's parent. */
export const groupsOfContainers = (settings: EngineSettings): { id: string; group: string }[] => {
  const { cgroupDriver, cgroupParent, scopePrefix } = settings
  const parent = cgroupDriver === 'systemd' ? slicePath(cgroupParent) : path.posix.join('/', cgroupParent)
  const form =
    cgroupDriver === 'systemd' ? new RegExp(`^${scopePrefix}-([a-f0-9]{64})\\.scope$`) : /^([a-f0-9]{64})$/
  return groupsBelow(parent).flatMap(name => {
    const [, id] = form.exec(name) ?? []
    return id === undefined ? [] : [{ id, group: path.posix.join(parent, name) }]
  })
}

/** Hierarchies of version 1 that a monitor enters: those that count, those that would freeze it with its container, systemd's own. */
const monitorControllers = ['cpu', 'cpuacct', 'memory', 'pids', 'freezer', 'systemd']

/** The scope of systemd that holds the monitors and the descriptor store. */
export const monitorScope = (settings: EngineSettings): string => `${settings.scopePrefix}-monitors.scope`

/** The group of the monitors beside the containers', so that accounting sees them. */
export const monitorDirectories = (settings: EngineSettings): string[] => {
  const group =
    settings.cgroupDriver === 'systemd'
      ? path.posix.join(slicePath(settings.cgroupParent), monitorScope(settings))
      : path.posix.join(settings.cgroupParent, 'monitors')
  if (cgroupVersion === 2) return [groupDirectory(group, '')]
  return monitorControllers
    .filter(name => controllers.includes(name))
    .map(name => groupDirectory(group, name))
}
